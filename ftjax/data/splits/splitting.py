"""Deterministic, stratified splits, few-shot subsets and folds.

Every choice is a pure function of (labels, seed): the members of a class are permuted by a
stream of their own, so classes do not disturb each other and subsets of k examples are
contained in those of k + 1.
"""

from __future__ import annotations

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.data.splits.grouped_splits import (
    fold_groups,
    group_orders,
    hold_out_groups,
    of_other_groups,
)
from ftjax.data.splits.iterative_strata import stratified_parts
from ftjax.errors import UserError

# First words of the random streams, so that test, validation and subset are drawn apart.
TEST, VAL, SUBSET, FOLD = range(4)


def hold_out(dataset: Dataset, count: int, seed: int, stream: int) -> tuple[Dataset, Dataset]:
    """Parts `count` examples from a data set: (rest, held out), in the original order.

    Each class gives its share of `count`, to within one example, and keeps at least one.
    Regression and multi-label data are drawn without strata, unless the rest would then lack a
    label: iterative stratification deals the labels out in that case. Groups stay whole, so that
    `count` is met as closely as they allow.

    Raises:
      UserError: if the classes cannot give so many.
    """
    if len(dataset.groups):
        rest, held = hold_out_groups(dataset, count, seed, stream)
        return dataset.take(rest), dataset.take(held)
    order = _class_orders(dataset, seed, stream)
    sizes = np.array([len(members) for members in order])
    quota = _quota(sizes, count, np.random.default_rng((seed, stream)))
    if quota.sum() < count:
        raise UserError(
            f'{dataset.name}: cannot hold out {count} of {len(dataset)} examples and keep one '
            'of each class to train on; lower data.test_fraction and data.val_fraction'
        )
    held = np.concatenate([members[:q] for members, q in zip(order, quota, strict=True)])
    if dataset.label_kind.loses(dataset.labels, [held]):
        sizes = np.array([len(dataset) - count, count])
        rng = np.random.default_rng((seed, stream, 1))
        held = np.flatnonzero(stratified_parts(dataset.labels, sizes, rng) == 1)
    return _complement(dataset, held), dataset.take(np.sort(held))


def hold_out_per_class(
    dataset: Dataset, per_class: int, seed: int, stream: int, setting: str
) -> tuple[Dataset, Dataset]:
    """Parts `per_class` examples of each class from a data set: (rest, held out).

    They come from as few groups as will do, where there are groups, and the rest is without the
    other members of these.

    Raises:
      UserError: naming the class that has fewer; `setting` is the remedy's name.
    """
    order = _class_orders(dataset, seed, stream)
    for name, members in zip(dataset.class_names, order, strict=True):
        if len(members) < per_class:
            raise UserError(
                f'{dataset.name}: class {name!r} has {len(members)} examples, fewer than '
                f'{setting} {per_class}; lower it'
            )
    held = np.concatenate([members[:per_class] for members in order])
    if len(dataset.groups):
        return dataset.take(of_other_groups(dataset, held)), dataset.take(np.sort(held))
    return _complement(dataset, held), dataset.take(np.sort(held))


def fold(dataset: Dataset, k: int, i: int, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Fold `i` of `k` for cross-validation: (the other folds, this fold), stratified.

    Folds differ by at most one example in all and in each class; together they hold every
    example once. Multi-label data are dealt out without strata, unless a fold would leave no
    example of some label to train on: all folds are then made by iterative stratification.
    Groups stay whole, and folds are then as level as these allow.

    Raises:
      UserError: if k < 2, i is not in 0 .. k - 1, or a class has fewer than k examples.

    >>> data = Dataset(
    ...     name='d',
    ...     kind='text',
    ...     inputs='abcdef',
    ...     labels=[0, 0, 0, 1, 1, 1],
    ...     class_names=('x', 'y'),
    ... )
    >>> [sorted(fold(data, 3, i)[1].labels.tolist()) for i in range(3)]
    [[0, 1], [0, 1], [0, 1]]
    """
    if k < 2 or not 0 <= i < k:
        raise UserError(f'fold {i} of {k}: expected k >= 2 and a fold from 0 to k - 1')
    if len(dataset.groups):
        mine = fold_groups(dataset, k, i, seed, FOLD)
        return _complement(dataset, mine), dataset.take(mine)
    order = _class_orders(dataset, seed, FOLD)
    smallest = min(range(len(order)), key=lambda c: len(order[c]))
    if len(order[smallest]) < k:
        strata = dataset.label_kind.one_class
        of = f'class {dataset.class_names[smallest]!r}' if strata else 'the data'
        raise UserError(
            f'{dataset.name}: {of} has {len(order[smallest])} examples, too few for {k} folds'
        )
    # Dealt out like cards, one class after the other, so that fold sizes stay level too.
    dealt = np.concatenate(order)
    folds = [np.sort(dealt[np.arange(len(dealt)) % k == part]) for part in range(k)]
    mine = folds[i]
    if dataset.label_kind.loses(dataset.labels, folds):
        sizes = np.array([len(members) for members in folds])
        rng = np.random.default_rng((seed, FOLD, 1))
        mine = np.flatnonzero(stratified_parts(dataset.labels, sizes, rng) == i)
    return _complement(dataset, mine), dataset.take(mine)


def _class_orders(dataset: Dataset, seed: int, stream: int) -> list[np.ndarray]:
    """For each class its members' positions, permuted; one entry where there are no strata."""
    strata = dataset.label_kind.strata(dataset.labels, dataset.num_classes)
    if strata is None:
        return [np.random.default_rng((seed, stream, 0)).permutation(len(dataset))]
    orders = [
        np.random.default_rng((seed, stream, label + 1)).permutation(members)
        for label, members in enumerate(strata)
    ]
    return group_orders(dataset, orders, seed, stream) if len(dataset.groups) else orders


def _quota(sizes: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """How many each class gives: largest remainders, ties at random, at most size - 1."""
    room = np.maximum(sizes - 1, 0)
    exact = sizes * (count / max(1, sizes.sum()))
    quota = np.minimum(np.floor(exact + 1e-9).astype(np.int64), room)
    turn = np.lexsort((rng.permutation(len(sizes)), -(exact - np.floor(exact + 1e-9))))
    while quota.sum() < count and (quota < room).any():
        for c in turn:
            if quota.sum() < count and quota[c] < room[c]:
                quota[c] += 1
    return quota


def _complement(dataset: Dataset, held: np.ndarray) -> Dataset:
    keep = np.ones(len(dataset), bool)
    keep[held] = False
    return dataset.take(np.flatnonzero(keep))
