"""Reference statistics: what outputs and features look like on validation data.

A server compares what it sees with them; the reservoir is also where nearest examples are from.
"""

from __future__ import annotations

import collections
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ftjax.errors import UserError
from ftjax.io.files.atomic import write_json
from ftjax.io.json.json_reader import JsonLimits, read_object
from ftjax.io.json.json_values import Flag, Integer, Kind, ListOf, Text, check, check_table
from ftjax.serving.bundle.answer_forms.answer_form import Told
from ftjax.serving.bundle.goldens import read_arrays, write_arrays
from ftjax.serving.bundle.signature import Signature

FILE, FACTS = 'reference.safetensors', 'reference.json'
RESERVOIR = 512
"""Examples whose features are kept, at most."""
SAID = 200
"""Characters of an answer in short that are kept: the tags of a long text are many more."""
BINS = 20
LIMITS = JsonLimits(size=2**22, depth=8, duplicates=False)
_ARRAYS = ('features', 'mean', 'histogram', 'edges', 'predicted', 'values', 'answers', 'measures')
MOST_MEASURES = 64
_FACTS: dict[str, Kind] = {
    'count': Integer(1, 2**50),
    'split': Text(),
    'measure_names': ListOf(Text(longest=200), 0, MOST_MEASURES),
    'labelled': Integer(0, 2**50),
    'right': Integer(0, 2**50),
    'groups': Integer(0, 2**50),
    'of_answers': Flag(),
}


@dataclasses.dataclass(frozen=True)
class Reference:
    """Statistics of a data set under the bundle's own program."""

    count: int
    """Examples that were counted."""
    split: str
    ids: tuple[str, ...]
    """Of the reservoir."""
    said: tuple[str, ...]
    """What was predicted of each of those, its first SAID characters."""
    features: np.ndarray
    """float32 (reservoir, width)."""
    mean: np.ndarray
    """float64 (width,): of the features of all examples."""
    histogram: np.ndarray
    """int64 (BINS,): of the probability of the answer, or of the value between the edges."""
    edges: np.ndarray
    """float64 (BINS + 1,)."""
    predicted: np.ndarray
    """int64 (classes,): how often each was answered; (0,) without classes."""
    values: np.ndarray
    """float32 (reservoir,): the probability of the answer, or the value."""
    answers: np.ndarray
    """int32 (reservoir,): the class answered, of several labels the most probable; -1 for none."""
    measures: np.ndarray
    """float32 (reservoir, measures): sizes and gaps of the inputs, NaN where unknown."""
    measure_names: tuple[str, ...] = ()
    groups: int = 0
    """Of the examples, where they have some: the reservoir, `labelled` and `right` are then of one
    example of each, as those of a group are alike; 0 where none is said."""
    labelled: int = 0
    """Examples whose class is known."""
    right: int = 0
    """Of those, how many were answered rightly."""
    of_answers: bool = True
    """False for a reference of before that counts, beside a decision threshold, the most probable
    class and not the one that is answered."""

    def nearest(self, features: np.ndarray, count: int = 3) -> list[list[dict[str, Any]]]:
        """For each of (n, width) the reservoir's examples of the smallest Euclidean distance."""
        wide, own = features.astype(np.float64), self.features.astype(np.float64)
        squares = (wide**2).sum(1)[:, None] + (own**2).sum(1) - 2 * wide @ own.T
        distances = np.sqrt(np.maximum(squares, 0))
        order = np.argsort(distances, axis=1, kind='stable')[:, :count]
        return [
            [
                {'id': self.ids[i], 'predicted': self.said[i], 'distance': float(row[i])}
                for i in chosen
            ]
            for row, chosen in zip(distances, order, strict=True)
        ]


def check_monitored(reference: Reference) -> None:
    """UserError for a reference that traffic cannot be compared with."""
    if reference.split == 'train':
        raise UserError(
            'the reference of the bundle is of examples that were trained on: traffic would look '
            'changed where nothing is; set data.val_fraction or data.test_fraction, train and '
            'export anew'
        )
    if not reference.of_answers:
        raise UserError(
            'the bundle has a decision threshold, and was made when references counted the most '
            'probable class, not the one that is answered: traffic would look changed; make it '
            'anew of its run (scripts/export.py --workdir=RUN --format=bundle)'
        )


def place_of(names: Sequence[str], name: str) -> int:
    """The number of a class, -1 for ''."""
    return names.index(name) if name else -1


def measure(
    told: Sequence[Told],
    features: np.ndarray,
    ids: tuple[str, ...],
    signature: Signature,
    split: str,
    seed: int = 0,
    *,
    measures: np.ndarray | None = None,
    measure_names: tuple[str, ...] = (),
    labels: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> Reference:
    """Reference statistics of some examples.

    Args:
      told: n answers in short.
      features: (n, width).
      ids: n of them.
      signature: of the bundle.
      split: its name.
      seed: of the reservoir.
      measures: (n, measures) of the inputs; None for none.
      measure_names: of their columns.
      labels: (n,) classes; None where answers are no single class.
      groups: (n,) what each example belongs to; None where they are independent.
    """
    order = np.random.default_rng(seed).permutation(len(told))
    if groups is not None:
        order = order[np.sort(np.unique(groups[order].astype(str), return_index=True)[1])]
    kept = np.sort(order[:RESERVOIR])
    values = np.array([each.value for each in told], np.float64)
    bins = np.linspace(0, 1, BINS + 1) if told[0].probable else BINS
    histogram, edges = np.histogram(values, bins)
    counts = collections.Counter(name for each in told for name in each.classes)
    best = np.array([place_of(signature.class_names, each.best) for each in told], np.int32)
    return Reference(
        count=len(told),
        split=split,
        ids=tuple(ids[i] for i in kept),
        said=tuple(told[i].said[:SAID] for i in kept),
        features=features[kept].astype(np.float32),
        mean=features.mean(axis=0, dtype=np.float64),
        histogram=histogram.astype(np.int64),
        edges=edges.astype(np.float64),
        predicted=np.array([counts[name] for name in signature.class_names], np.int64),
        values=values[kept].astype(np.float32),
        answers=best[kept],
        measures=np.zeros((len(kept), 0), np.float32)
        if measures is None
        else measures[kept].astype(np.float32),
        measure_names=tuple(measure_names),
        groups=0 if groups is None else len(order),
        labelled=0 if labels is None else len(order),
        right=0 if labels is None else int((best == labels)[order].sum()),
    )


def write_reference(folder: pathlib.Path, found: Reference) -> None:
    """Writes reference.safetensors and reference.json."""
    write_arrays(folder / FILE, {name: getattr(found, name) for name in _ARRAYS})
    write_json(folder / FACTS, {name: getattr(found, name) for name in (*_FACTS, 'ids', 'said')})


def read_reference(folder: pathlib.Path, signature: Signature) -> Reference:
    """Reads them; UserError for arrays of other shapes than the signature's."""
    arrays, path = read_arrays(folder / FILE), folder / FACTS
    known = read_object(path, LIMITS)
    # Bundles of earlier versions know nothing of these.
    facts: dict[str, Any] = {'measure_names': [], 'groups': 0, 'labelled': 0, 'right': 0}
    facts['of_answers'] = signature.activation != 'softmax' or signature.threshold is None
    facts |= known
    check_table({'count': None, 'split': None, **facts}, _FACTS, str(path))
    ids: Any = check(facts.get('ids'), f'{path}: ids', ListOf(Text(), 1, RESERVOIR))
    said: Any = check(facts.get('said'), f'{path}: said', ListOf(Text(), len(ids), len(ids)))
    shapes = {
        'features': (len(ids), signature.features),
        'mean': (signature.features,),
        'histogram': (BINS,),
        'edges': (BINS + 1,),
        'predicted': (len(signature.class_names),),
        'values': (len(ids),),
        'answers': (len(ids),),
        'measures': (len(ids), len(facts['measure_names'])),
    }
    arrays.setdefault('values', np.full(len(ids), np.nan, np.float32))
    arrays.setdefault('answers', np.full(len(ids), -1, np.int32))
    arrays.setdefault('measures', np.zeros((len(ids), 0), np.float32))
    for name, shape in shapes.items():
        if name not in arrays or arrays[name].shape != shape:
            raise UserError(f'{folder / FILE}: {name} is missing, or has not the shape {shape}')
    return Reference(
        count=facts['count'],
        split=facts['split'],
        ids=tuple(ids),
        said=tuple(said),
        measure_names=tuple(facts['measure_names']),
        groups=facts['groups'],
        labelled=facts['labelled'],
        right=facts['right'],
        of_answers=facts['of_answers'],
        **{name: arrays[name] for name in shapes},
    )
