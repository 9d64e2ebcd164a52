"""Samplers: how often an epoch draws each class. Exact in every epoch, and over epochs in turn.

An epoch has as many draws as without a sampler. Each class gets its share of them, to within one
draw; a class goes round permutations of its own examples, and on from epoch to epoch, so that at
any time its examples have been drawn equally often, to within one. What a step sees follows from
(seed, step) alone, so that an interrupted run goes on with the same examples.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ftjax.errors import UserError, shown
from ftjax.registry import parse, register

Order = Callable[[int], np.ndarray]


@register('sampler', 'balanced')
def balanced(counts: np.ndarray) -> np.ndarray:
    """Each class equally often."""
    return np.ones(len(counts))


@register('sampler', 'sqrt', source='arXiv:1805.00932')
def square_root(counts: np.ndarray) -> np.ndarray:
    """Each class as often as the square root of its examples says."""
    return np.sqrt(counts)


def class_order(sampler: str, labels: np.ndarray, draws: int, seed: int) -> Order:
    """The positions that an epoch draws, (draws,), shuffled, as a function of its number.

    Args:
      sampler: as `config.data.sampler`, not empty.
      labels: (N,) class of each example; a class without examples is left out.
      draws: an epoch.
      seed: of the order.

    Raises:
      UserError: an unknown sampler, or one whose shares are no numbers of 0 or more.

    >>> order = class_order('balanced', np.array([0, 0, 0, 1]), 4, seed=0)
    >>> sorted(order(0).tolist())[2:], np.unique([order(0), order(1)]).tolist()
    ([3, 3], [0, 1, 2, 3])
    """
    members = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    quotas = _quotas(sampler, np.array([len(m) for m in members]), draws)

    def order(epoch: int) -> np.ndarray:
        drawn = [
            _in_turn(own, epoch * quota, quota, (seed, 11, number))
            for number, (own, quota) in enumerate(zip(members, quotas, strict=True))
        ]
        return np.random.default_rng((seed, epoch)).permutation(np.concatenate(drawn))

    return order


def _quotas(sampler: str, counts: np.ndarray, draws: int) -> list[int]:
    """Draws of each class, by largest remainders."""
    shares = np.asarray(parse('sampler', sampler)(counts), np.float64)
    if shares.shape != counts.shape or not (shares >= 0).all() or not 0 < shares.sum() < np.inf:
        raise UserError(
            f'data.sampler {sampler!r} gives {shown(shares.tolist())}; expected a number of 0 or '
            'more a class'
        )
    exact = shares * (draws / shares.sum())
    quotas = np.floor(exact + 1e-9).astype(int)
    first = np.argsort(quotas - exact, kind='stable')[: draws - quotas.sum()]
    quotas[first] += 1
    return quotas.tolist()


def _in_turn(members: np.ndarray, start: int, count: int, seed: tuple[int, ...]) -> np.ndarray:
    """Draws start .. start + count of a sequence of permutations of some positions."""
    size = len(members)
    rounds = range(start // size, (start + count + size - 1) // size)
    drawn = [np.random.default_rng((*seed, r)).permutation(members) for r in rounds]
    first = start - start // size * size
    return np.concatenate([*drawn, members[:0]])[first : first + count]
