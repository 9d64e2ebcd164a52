"""Splits that a classifier on frozen features tells apart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ftjax.data.audit.examples import NAMES, SHOWN, Examples
from ftjax.data.audit.finding import Finding
from ftjax.data.audit.measures.shift import shift_between
from ftjax.data.dataset import Dataset

LEVEL = 0.01
"""Of the test of both held-out splits together (Bonferroni)."""
LARGE = 0.75
"""AUC from which on a shift is a warning: most examples show which split they are of."""


def shift_findings(examples: Examples, features: np.ndarray) -> Iterator[Finding]:
    """What tells validation and test from training, each with its AUC.

    Where examples come in groups, a group is one example, the mean of its features: a classifier
    knows whose examples it has seen, and would tell apart any two splits that part no group.
    """
    held = [name for name in NAMES[1:] if len(getattr(examples.splits, name))]
    for name in held:
        left, right = (features[examples.within(each)] for each in ('train', name))
        train, other = (getattr(examples.splits, each) for each in ('train', name))
        grouped = bool(len(train.groups) and len(other.groups))
        if grouped:
            left, right = group_means(left, train), group_means(right, other)
        found = shift_between(left, right)
        if found is None or found.p * len(held) > LEVEL:
            continue
        yield Finding(
            'shift between splits',
            'warning' if found.auc >= LARGE else 'note',
            f'{SHOWN[name]} {"groups" if grouped else "examples"} differ from training ones: a '
            f'classifier on frozen features tells them apart with AUC {found.auc:.2f} '
            f'(0.5 for no difference; p {found.p:.2g})',
            measured=found.auc,
        )


def group_means(features: np.ndarray, part: Dataset) -> np.ndarray:
    """(groups, d): the mean of the features (n, d) of each group of a split."""
    names, of = np.unique(part.groups, return_inverse=True)
    sums = np.zeros((len(names), features.shape[1]), np.float64)
    np.add.at(sums, of, features)
    return sums / np.bincount(of)[:, None]
