"""Labels of texts that belong together: which texts are equal, and the class of a single one."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import jax
import numpy as np

from ftjax.data.labels.classes import Classes
from ftjax.data.labels.label_kind import LabelKind, Where
from ftjax.errors import UserError

NONE = -1
"""The class of an example that has none."""
VECTOR = MappingProxyType({'head': 'vector'})
"""Options of a network whose head gives a vector."""
COLUMNS = (
    ('anchor', 'positive', 'negative'),
    ('anchor', 'positive'),
    ('query', 'positive', 'negative'),
    ('query', 'positive'),
    ('question', 'answer'),
    ('sentence1', 'sentence2'),
    ('text1', 'text2'),
)
"""Columns of texts that are looked for, the first that are all there."""


USUAL = 'text, or anchor and positive, or sentence1 and sentence2'
"""The most usual of them, and of single texts, for messages."""


def columns_of_texts(columns: Sequence[str], given: Sequence[str]) -> tuple[str, ...]:
    """The columns of a table whose texts are an example; () for a single one."""
    if given:
        return tuple(given)
    return next((names for names in COLUMNS if set(names) <= set(columns)), ())


class SimilarTexts(LabelKind):
    """int32 (N, texts + 1): a number of each text, the same for equal ones, and a class or NONE.

    An example is a text and one that belongs to it, and perhaps others that do not: an anchor, its
    positive, negatives. Or it is a single text of a class.
    """

    dtype, axes = np.int32, 2
    head, form, network_options = 'vector', 'apart', VECTOR
    label_is_optional = True
    compared = False
    lists_from = 2  # further texts do not belong to the first
    usual_columns = USUAL

    def texts_of(self, columns: Sequence[str], given: Sequence[str]) -> tuple[str, ...]:
        """See COLUMNS."""
        return columns_of_texts(columns, given)

    def read(
        self, raw: Sequence[Any], where: Where, class_names: Sequence[str] = (), separator='|'
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """The classes, numbered, in a column; NONE where there are no labels at all."""
        if all(value is None for value in raw):
            return np.full((len(raw), 1), NONE, np.int32), ()
        labels, _ = Classes().read(raw, where, class_names)
        return labels[:, None].astype(np.int32), ()

    def of_inputs(self, inputs: Any, labels: np.ndarray, where: Where) -> np.ndarray:
        """With the numbers of the texts before the class."""
        rows = [[text] if isinstance(text, str) else list(text) for text in inputs]
        numbers: dict[str, int] = {}
        found = [[numbers.setdefault(text, len(numbers)) for text in row] for row in rows]
        if len(rows) and len(rows[0]) == 1 and (labels == NONE).all():
            raise UserError(
                f'{where(0)}: single texts without a label; expected columns of texts that belong '
                f'together (data.text_columns, or {" and ".join(COLUMNS[1])}), or a class of each'
            )
        # Of equal labels, 1 of pairs that belong together say, there is nothing to be told.
        if len(rows) and len(rows[0]) > 1 and len(np.unique(labels)) > 1:
            raise UserError(
                f'{where(0)}: {len(rows[0])} texts and a label; data.task embedding takes all such '
                'texts as belonging together and reads no label: keep the rows that do, without '
                "the label's column (numbers that say how alike texts are: data.task "
                'text_similarity)'
            )
        shape = len(rows), len(rows[0]) if rows else 1
        return np.concatenate([np.reshape(found, shape).astype(np.int32), labels], axis=1)

    def outputs(self, class_names: Sequence[str]) -> int:
        """0: the numbers of a vector are the network's own affair."""
        return 0

    def shapes(self, examples: int, outputs: int, inputs: Any) -> tuple[Any, Any]:
        """A number for each text, and the class."""
        ids = inputs['input_ids'].shape
        texts = ids[1] if len(ids) == 3 else 1
        mask = jax.ShapeDtypeStruct((examples,), np.float32)
        return jax.ShapeDtypeStruct((examples, texts + 1), np.int32), mask

    def check_training(self, name: str, labels: np.ndarray, class_names: tuple[str, ...]) -> None:
        """Two different texts that belong to another, or two classes."""
        told = labels[:, 1] if labels.shape[1] > 1 else labels[:, 0]
        if len(np.unique(told)) < 2:
            raise UserError(f'{name}: all texts belong together; expected some that do not')

    def shared_with_training(self, train: Any, held: Any) -> dict[str, int]:
        """`positives_in_training`: examples whose second text is a text of training too.

        >>> texts = np.array([['q', 'a'], ['r', 'b']], object)
        >>> SimilarTexts().shared_with_training(texts, np.array([['s', 'b'], ['s', 'c']], object))
        {'positives_in_training': 1}
        """
        if train.ndim < 2 or held.ndim < 2:
            return {}
        known = set(train.reshape(-1).tolist())
        return {'positives_in_training': sum(text in known for text in held[:, 1].tolist())}

    def told(self, label: Any, class_names: Sequence[str]) -> str:
        """The class, if there is one."""
        return '' if label[-1] == NONE else str(int(label[-1]))

    def summary(self, labels: np.ndarray) -> str:
        """Whether they are pairs, triplets or texts of classes."""
        texts = labels.shape[1] - 1
        if texts == 1:
            return f' of {len(np.unique(labels[:, -1]))} classes'
        what = {2: 'pairs', 3: 'triplets'}.get(texts, f'groups of {texts}')
        return f' in {what}, {len(np.unique(labels[:, 1])):,} different positives in training'
