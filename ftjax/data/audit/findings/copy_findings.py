"""What copies mean: scores on what was seen, one input under several labels, examples twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ftjax.data.audit.examples import NAMES, SHOWN, Examples
from ftjax.data.audit.finding import Finding, Row, counted
from ftjax.data.audit.measures.duplicates import Duplicates


def copy_findings(examples: Examples, found: Duplicates) -> Iterator[Finding]:
    """Findings on the same inputs and near copies.

    Of examples that stand twice one is to be kept: one of the test split rather than of
    validation, and that rather than of training, so that scores stay comparable. Where labels
    differ nobody knows which is right: all are dropped from training and reviewed elsewhere.
    Rows of a table with the same cells may be two cases that few columns do not tell apart: they
    are to be reviewed, and none is dropped.
    """
    for split in (2, 1):
        exact, near = found.leaks(examples, split)
        n, name = len(examples.parts[split]), SHOWN[NAMES[split]]
        if len(exact):
            yield Finding(
                'copies in training',
                'error',
                f'{len(exact):,} of {n:,} {name} examples stand in training too, the same input: '
                'scores on them are of what was seen',
                _drop_training(examples, found.same, split),
            )
        if len(near):
            left, right = (examples.split[found.near[:, side]] for side in (0, 1))
            pairs = found.near[(left == 0) & (right == split)]
            yield Finding(
                'near copies in training',
                'warning',
                f'{len(near):,} of {n:,} {name} examples have a near copy in training: scores on '
                'them may be of what was seen',
                tuple(
                    Row(int(a), 'drop', partner=int(b), detail='near copy') for a, b in _once(pairs)
                ),
            )
    yield from _held_out(examples, found)
    yield from _conflicts(examples, found)
    yield from _twice(examples, found)
    apart = [(a, b) for a, b in found.near if not examples.same_label((a, b))]
    if apart:
        yield Finding(
            'near copies of other labels',
            'warning',
            f'{counted(len(apart), "pair")} of near copies have different labels',
            tuple(
                Row(int(b), 'review', partner=int(a), detail=f'{examples.label(int(a))} there')
                for a, b in apart
            ),
        )


def _drop(examples: Examples) -> str:
    """What is proposed for an example with the same input as another."""
    return 'review' if examples.splits.train.kind == 'table' else 'drop'


def _drop_training(examples: Examples, same: list[np.ndarray], split: int) -> tuple[Row, ...]:
    rows = []
    for group in same:
        held = group[examples.split[group] == split]
        if len(held):
            training = group[examples.split[group] == 0]
            rows += [
                Row(int(i), _drop(examples), partner=int(held[0]), detail='same input')
                for i in training
            ]
    return tuple(rows)


def _held_out(examples: Examples, found: Duplicates) -> Iterator[Finding]:
    """Test examples that stand in validation too: what is chosen there is chosen on them."""
    copies, rows = 0, []
    for group in found.same:
        of = examples.split[group]
        if (of == 2).any() and (of == 1).any():
            copies += int((of == 2).sum())
            rows += [
                Row(int(i), _drop(examples), partner=int(group[of == 2][0]), detail='same input')
                for i in group[of == 1]
            ]
    if rows:
        yield Finding(
            'copies in validation',
            'warning',
            f'{copies:,} of {len(examples.parts[2]):,} test examples stand in validation too, '
            'where rates and steps are chosen',
            tuple(rows),
        )


def _conflicts(examples: Examples, found: Duplicates) -> Iterator[Finding]:
    groups = [group for group in found.same if not examples.same_label(group)]
    if not groups:
        return
    rows = [
        Row(
            int(i),
            _drop(examples) if examples.split[i] == 0 else 'review',
            partner=int(next(j for j in group if not examples.same_label((i, j)))),
            detail='same input, other label',
        )
        for group in groups
        for i in group
    ]
    inputs = counted(len(groups), 'input stands', 'inputs stand')
    table = examples.splits.train.kind == 'table'
    why = 'a label is wrong, or the columns do not tell cases apart'
    yield Finding(
        'one input, several labels',
        'warning' if table else 'error',
        f'{inputs} under several labels, in {len(rows):,} examples: '
        f'{why if table else "at most one label is right"}',
        tuple(rows),
    )


def _twice(examples: Examples, found: Duplicates) -> Iterator[Finding]:
    """The same input within one split, under one label."""
    for split, name in enumerate(NAMES):
        rows = []
        for group in found.same:
            mine = group[examples.split[group] == split]
            if len(mine) > 1 and examples.same_label(group):
                rows += [
                    Row(int(i), _drop(examples), partner=int(mine[0]), detail='same input')
                    for i in mine[1:]
                ]
        if rows:
            n = len(examples.parts[split])
            yield Finding(
                'copies within a split',
                'warning' if split else 'note',
                f'{len(rows):,} of {n:,} {SHOWN[name]} examples repeat another of that split',
                tuple(rows),
            )


def _once(pairs: np.ndarray) -> list[tuple[int, int]]:
    """Pairs, each first example once."""
    found: dict[int, int] = {}
    for a, b in pairs.tolist():
        found.setdefault(a, b)
    return list(found.items())
