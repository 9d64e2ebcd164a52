"""The contract of a kind of labels: how they are read, checked, stored, split and told of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import numpy as np

from ftjax.data.augmentation import Parsed
from ftjax.data.missing import is_missing
from ftjax.errors import UserError

Where = Callable[[int], str]
"""Position of an example -> where it stands, for messages (`train.csv line 7`)."""


class LabelKind:
    """One kind of labels; a task names the one that it has (`Task.labels`).

    It holds no data and no settings: one instance serves all data sets.
    """

    dtype: Any = np.float32
    """Of the array of labels."""
    axes = 1
    """Axes of that array; the first is the examples."""
    named = False
    """Whether the labels index class names."""
    one_class = False
    """Whether each example has one class: strata, few-shot subsets and linear baselines need it."""

    @property
    def several(self) -> bool:
        """Whether each example has any number of classes."""
        return self.named and not self.one_class

    from_inputs = False
    """Whether labels are made from the inputs at every step, and not read from the source."""
    drawn = False
    """Whether what is made from the inputs is drawn anew at every step."""
    reader = 'ftjax.data.text.batches:TextReader'
    """'module:class' of what makes inputs of texts, as `text.readers` takes it."""
    packs = False
    """Whether several texts may stand in one row of a batch: data.packing."""
    standardised = False
    """Whether they are values that a network for tables learns in units of their deviation."""
    moves = False
    """Whether labels move with the images that an augmentation moves."""
    compared = True
    """Whether equal inputs should have equal labels, where these are data."""
    head = ''
    """The head that a network must have (`Network.head_kind`): '' for `outputs` numbers an example,
    `lm` for the tokens of a vocabulary, `tags` for numbers of each token, `vector` for one,
    `dense` for numbers of each position of an image."""
    causal = False
    """Whether the head must guess each token from those before it alone: that of a decoder."""
    form = 'joined'
    """What the texts of an example become: one of FORMS of ftjax/preprocessing/texts.py."""
    network_options: Mapping[str, Any] = MappingProxyType({})
    """Options of a network of texts that give it this head, where a config does not say others."""

    text_columns: tuple[str, ...] = ('text', 'sentence')
    """Columns of a table that a text is looked for in, the first that is there."""
    usual_columns = 'text or sentence'
    """The names of such columns, and of several that belong together, for messages."""
    label_columns: tuple[str, ...] = ()
    """Other names of the label's column, where it has not that of the settings."""
    label_is_optional = False
    """Whether a table may be without that column: the texts alone say what belongs together."""
    lists_from: int | None = None
    """Of `texts_of` the first column whose cells may be lists of texts; None for none."""
    fills_up = False
    """Whether examples with fewer texts than others are filled up with empty ones."""
    second_text = ''
    """What the second text of a pair is, where an input is seldom complete without it."""
    fewest_texts = 1
    """Of an input of several texts."""
    scaled = False
    """Whether they are numbers that data.label_scale may divide."""
    parted = False
    """Whether a table may give several in one cell, parted by data.label_separator."""

    def texts_of(self, columns: Sequence[str], given: Sequence[str]) -> tuple[str, ...]:
        """The columns of a table whose texts go through the network each by itself; () for none.

        `given` is data.text_columns.
        """
        if given:
            raise UserError('data.text_columns is for tasks of several texts: embedding, say')
        return ()

    def as_text(self, value: object, where: str, units: str) -> object:
        """What a table holds for a text, as the text that a data set holds; else as it is.

        `units` is data.units, `where` for messages.
        """
        del where, units
        return value

    def label_of(self, value: object) -> float:
        """What an input tells of its label, where `from_inputs`: of a value as a table holds it."""
        del value
        return 0

    def read(
        self, raw: Sequence[Any], where: Where, class_names: Sequence[str] = (), separator='|'
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """Labels as an array (N, ..) of `dtype`, and the class names they index.

        Args:
          raw: str, int or float per example, or what else a source gives.
          where: for messages.
          class_names: names in label order; empty to take them from the labels.
          separator: between the labels of one example.

        Raises:
          UserError: naming the place of a label that is missing, no class or no number.
        """
        raise NotImplementedError

    def read_arrays(
        self,
        raw: Mapping[str, np.ndarray],
        where: Callable[[str], str],
        names: tuple[str, ...],
        ignored: int | None = None,
    ) -> tuple[tuple[str, ...], dict[str, np.ndarray]] | None:
        """Class names and labels from arrays of numbers, by split; None to `read` them.

        `where` is split -> where its array stands, for messages; `ignored` is the value of pixels
        that count for nothing.
        """

    def rows(self, raw: np.ndarray) -> np.ndarray:
        """An array of labels with one row an example, as far as its shape tells."""
        return raw.reshape(-1)

    def check(self, name: str, labels: np.ndarray, classes: int) -> None:
        """Raises UserError unless labels (N, ..) are of this kind; `name` is the data set's."""

    def check_augmentation(self, terms: Parsed) -> None:
        """Raises UserError for an augmentation that labels cannot follow."""

    def of_inputs(self, inputs: Any, labels: np.ndarray, where: Where) -> np.ndarray:
        """Labels that go with their inputs, and hold what the inputs tell of them.

        Raises:
          UserError: a label does not go with its input.
        """
        del inputs, where
        return labels

    def check_training(self, name: str, labels: np.ndarray, class_names: tuple[str, ...]) -> None:
        """Raises UserError where nothing can be learned from the labels of a training split."""
        counts = self.counts(labels, len(class_names))
        if counts is not None and 0 in counts:
            missing = class_names[counts.index(0)]
            raise UserError(
                f'{name}: class {missing!r} has no training example; '
                'add some, or take the class out (labels count from 0 without gaps)'
            )

    def outputs(self, class_names: Sequence[str]) -> int:
        """Numbers that a network gives for an example; 0 where they are the network's affair."""
        return len(class_names)

    def shapes(self, examples: int, outputs: int, inputs: object) -> tuple[object, object]:
        """Shapes and dtypes of a batch's labels and mask, of `outputs` numbers an example."""
        mask = jax.ShapeDtypeStruct((examples,), np.float32)
        each = (examples, outputs)[: self.axes]
        return jax.ShapeDtypeStruct(each, self.dtype), mask

    def hashed(self, labels: np.ndarray) -> Iterator[bytes | np.ndarray]:
        """What of the labels enters the fingerprint of a data set."""
        yield np.ascontiguousarray(labels).astype(labels.dtype.newbyteorder('<'))

    def of_batches(self, labels: np.ndarray, size: tuple[int, int] | None) -> Any:
        """Labels as batches hold them, indexed by positions; `size` is that of images."""
        return labels

    def of_evaluation(self, labels: np.ndarray) -> dict[str, np.ndarray]:
        """What a batch of an evaluation holds beside the labels that a loss is of."""
        return {}

    def hidden(self, texts: object, indices: np.ndarray, length: int, draw: object) -> Any:
        """Inputs and labels made from texts, where `from_inputs`; see `TextReader.masked`."""
        raise NotImplementedError

    def asked(self, labels: np.ndarray) -> np.ndarray:
        """Which of the labels made from inputs count: the mask of a batch."""
        return labels != -1

    def columns_of(
        self, columns: Sequence[str], settings: Mapping[str, str], asked: bool = False
    ) -> dict[str, Any]:
        """`text_column` and `text_pair_column`, where the kind knows them by their names.

        Args:
          columns: of a CSV or JSONL file.
          settings: what a config says of both.
          asked: whether the rows are inputs to answer, which need not hold what is to be learned.
        """
        return {}

    def is_missing(self, value: object) -> bool:
        """Whether what a source gives for a label means that there is none."""
        return is_missing(value)

    def renumbered(self, labels: np.ndarray, where: np.ndarray, classes: int) -> np.ndarray:
        """Labels whose class i is class `where[i]` of so many; of a kind that is `named`."""
        del classes
        return where[labels]

    def strata(self, labels: np.ndarray, classes: int) -> list[np.ndarray] | None:
        """Positions of the examples of each class, which splits keep level; None without."""

    def loses(self, labels: np.ndarray, parts: list[np.ndarray]) -> bool:
        """Whether the rest without one of the parts lacks a label that the whole has."""
        return False

    def counts(self, labels: np.ndarray, classes: int) -> list[int] | None:
        """Examples of each class; None where there are no classes."""

    def shared_with_training(self, train: Any, held: Any) -> dict[str, int]:
        """What of the answers of a held-out split stands in training too, of inputs of both.

        Copies of whole examples are counted for all kinds of data; see ftjax/data/audit.
        """
        del train, held
        return {}

    def told(self, label: Any, class_names: Sequence[str]) -> str:
        """A label of a data set as people read it."""
        if np.ndim(label):
            held = np.flatnonzero(np.asarray(label)).tolist()
            return ', '.join(class_names[i] if i < len(class_names) else str(i) for i in held)
        return class_names[int(label)] if class_names else f'{float(label):g}'

    def summary(self, labels: np.ndarray) -> str:
        """What the first screen says of labels without classes."""
        return ''
