"""Splits, folds and few-shot subsets that keep groups whole and classes level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.errors import UserError


def dealt_groups(
    counts: np.ndarray,
    shares: Sequence[float],
    rng: np.random.Generator | None = None,
    kept: int | None = None,
) -> np.ndarray:
    """The part of each group, int64 (G,), such that parts get their share of every class.

    Groups with the most uneven classes are dealt out first, each to the part that leaves the
    shares of all parts closest. With equal shares and no `kept` the parts are those of
    scikit-learn's StratifiedGroupKFold.

    Args:
      counts: (G, classes) examples of each class in each group.
      shares: of each part, adding up to 1.
      rng: of the order of groups that are equally uneven; None for the order they have.
      kept: the part that keeps a group of every class; None for no such part.

    >>> dealt_groups(np.array([[2, 0], [0, 2], [2, 0], [0, 2]]), [0.5, 0.5]).tolist()
    [0, 1, 1, 0]
    """
    counts = np.asarray(counts, np.float64)
    order = np.arange(len(counts)) if rng is None else rng.permutation(len(counts))
    order = order[np.argsort(-np.std(counts[order], axis=1), kind='stable')]
    totals = np.maximum(counts.sum(axis=0), 1)
    weights = len(shares) * np.asarray(shares, np.float64)
    # Groups of each class that have not gone to another part than `kept`.
    left = (counts > 0).sum(axis=0)
    held, part = np.zeros((len(shares), counts.shape[1])), np.zeros(len(counts), np.int64)
    for group in order:
        own = counts[group]
        needed = kept is not None and bool((left[own > 0] <= 1).any())
        best, level, size = -1, np.inf, np.inf
        for at in range(len(shares)):
            if needed and at != kept:
                continue
            full = held[at].sum() / weights[at]
            held[at] += own
            apart = np.std(held / totals / weights[:, None], axis=0).mean()
            held[at] -= own
            if apart < level or (np.isclose(apart, level) and full < size):
                best, level, size = at, apart, full
        held[best] += own
        part[group] = best
        if best != kept:
            left = left - (own > 0)
    return part


def hold_out_groups(
    dataset: Dataset, count: int, seed: int, stream: int
) -> tuple[np.ndarray, np.ndarray]:
    """Positions (rest, held out): whole groups with about `count` examples; sorted.

    Each class keeps a group to train on.

    Raises:
      UserError: no group is small enough to be held out.
    """
    if not count:
        return np.arange(len(dataset)), np.array([], np.int64)
    _, group = np.unique(dataset.groups.astype(str), return_inverse=True)
    share = count / len(dataset)
    rng = np.random.default_rng((seed, stream, 0))
    part = dealt_groups(_counts(dataset, group), [1 - share, share], rng, kept=0)[group]
    held = np.flatnonzero(part == 1)
    if not len(held):
        raise UserError(
            f'{dataset.name}: {group.max() + 1} groups, and none can be held out so that each '
            'class keeps one to train on; give more groups, or a split of your own'
        )
    return np.flatnonzero(part == 0), held


def fold_groups(dataset: Dataset, k: int, i: int, seed: int, stream: int) -> np.ndarray:
    """Positions of fold i of k, sorted: whole groups, classes as level as they allow.

    Raises:
      UserError: there are fewer than k groups, or a class is in one fold alone.
    """
    names, group = np.unique(dataset.groups.astype(str), return_inverse=True)
    if len(names) < k:
        raise UserError(f'{dataset.name}: {len(names)} groups, too few for {k} folds')
    counts = _counts(dataset, group)
    rng = np.random.default_rng((seed, stream, 0))
    part = dealt_groups(counts, [1 / k] * k, rng)
    if dataset.label_kind.one_class:
        for label, name in enumerate(dataset.class_names):
            if len({*part[counts[:, label] > 0].tolist()}) < 2:
                raise UserError(
                    f'{dataset.name}: all groups of class {name!r} fell into one of {k} folds, '
                    'which leaves none to train on; lower data.folds or take the class out'
                )
    return np.flatnonzero(part[group] == i)


def group_orders(dataset: Dataset, orders: Sequence[np.ndarray], seed: int, stream: int):
    """Orders of the members of classes, changed such that groups come one after the other.

    All classes see the groups in one order, so that so many examples of each class lie in few
    groups; the first k members are among the first k + 1.
    """
    _, group = np.unique(dataset.groups.astype(str), return_inverse=True)
    rank = np.random.default_rng((seed, stream, 0)).permutation(group.max() + 1)[group]
    return [order[np.argsort(rank[order], kind='stable')] for order in orders]


def of_other_groups(dataset: Dataset, held: np.ndarray) -> np.ndarray:
    """Positions of the examples whose groups have no member among `held`."""
    groups = dataset.groups.astype(str)
    return np.flatnonzero(~np.isin(groups, groups[held]))


def _counts(dataset: Dataset, group: np.ndarray) -> np.ndarray:
    """(G, classes) examples; one column where labels are values, or numbers of texts or tags."""
    labels, kind = dataset.labels, dataset.label_kind
    if kind.one_class:
        hot = np.eye(dataset.num_classes)[labels]
    elif kind.several:
        hot = np.column_stack([np.ones(len(labels)), labels])
    else:
        hot = np.ones((len(dataset), 1))
    counts = np.zeros((group.max() + 1, hot.shape[1]))
    np.add.at(counts, group, hot)
    return counts
