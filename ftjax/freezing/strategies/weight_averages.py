"""Averages of weights: along a run, between start and end, and over several runs.

A strategy of kind 'weights' is a function (ends, start, score, **parameters) -> (variables,
evidence): `ends` are the flat variables of the runs it asked for by its option `runs`, `start`
those that were loaded, `score(flat variables)` the validation score, higher is better. The
option `ema` names the parameter that is the decay of a moving average during the run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ftjax.errors import UserError
from ftjax.freezing.registry import strategy
from ftjax.pytrees import Flat
from ftjax.ranges import between


@strategy(
    'ema',
    'average',
    decay=0.99,
    ranges={'decay': between(0, 1, ends='none')},
)
def ema(decay: float):
    """Evaluates and keeps the exponential moving average of the trainable leaves."""
    if not 0 < decay < 1:
        raise UserError(f'ema: decay is {decay:g}; expected between 0 and 1')
    return decay


@strategy(
    'wise_ft',
    'weights',
    points=11,
    source='Wortsman et al. 2022, arXiv:2109.01903',
    ranges={'points': between(2, 1000)},
)
def wise_ft(ends: Sequence[Flat], start: Flat, score: Callable, points: int):
    """Keeps the best of (1 - a) w0 + a w over a grid of a by validation; records the curve.

    A head that is new has no pretrained value: `start` then holds the trained one, so that the
    trunk is interpolated under a fixed head.
    """
    curve, best = [], (-np.inf, 0.0, ends[0])
    for alpha in np.linspace(0.0, 1.0, points):
        mixed = interpolate(start, ends[0], float(alpha))
        value = score(mixed)
        curve.append({'alpha': round(float(alpha), 6), 'score': value})
        if value >= best[0]:
            best = (value, float(alpha), mixed)
    return best[2], {'curve': curve, 'alpha': round(best[1], 6)}


@strategy(
    'soup_uniform',
    'weights',
    runs=3,
    source='Wortsman et al. 2022, arXiv:2203.05482',
    options={'runs': 'runs'},
    ranges={'runs': between(1, 1000)},
)
def soup_uniform(ends: Sequence[Flat], start: Flat, score: Callable, runs: int):
    """The mean of the weights of several runs from the same start, other seeds and rates."""
    del start, runs
    mixed = mean_of(ends)
    return mixed, {'members': [score(end) for end in ends], 'score': score(mixed)}


@strategy(
    'soup_greedy',
    'weights',
    runs=3,
    source='Wortsman et al. 2022, arXiv:2203.05482',
    options={'runs': 'runs'},
    ranges={'runs': between(1, 1000)},
)
def soup_greedy(ends: Sequence[Flat], start: Flat, score: Callable, runs: int):
    """Sorts runs by validation score and adds each to the mean if the score strictly rises."""
    del start, runs
    scores = [score(end) for end in ends]
    order = sorted(range(len(ends)), key=lambda i: (-scores[i], i))
    taken, best = [order[0]], scores[order[0]]
    for i in order[1:]:
        value = score(mean_of([ends[j] for j in (*taken, i)]))
        if value > best:
            taken, best = [*taken, i], value
    mixed = mean_of([ends[j] for j in taken])
    return mixed, {'members': scores, 'taken': taken, 'score': best}


def interpolate(start: Flat, end: Flat, alpha: float) -> Flat:
    """(1 - alpha) start + alpha end, leaf by leaf; at both ends the given weights themselves.

    >>> interpolate({'w': np.array([0.0, 2.0])}, {'w': np.array([1.0, 2.0])}, 0.25)['w'].tolist()
    [0.25, 2.0]
    """
    if alpha in (0.0, 1.0):
        return start if alpha == 0.0 else end
    mixed: Flat = {}
    for path, leaf in end.items():
        old, new = np.asarray(start[path]), np.asarray(leaf)
        # A leaf that never moved stays bitwise: (1 - a) w + a w would round.
        same = old.tobytes() == new.tobytes()
        mixed[path] = new if same else ((1 - alpha) * old + alpha * new).astype(new.dtype)
    return mixed


def mean_of(ends: Sequence[Flat]) -> Flat:
    """The mean of some weights, leaf by leaf, summed in double precision; one stays itself."""
    if len(ends) == 1:
        return ends[0]
    mixed: Flat = {}
    for path, first in ends[0].items():
        leaves = [np.asarray(end[path]) for end in ends]
        if all(leaf.tobytes() == leaves[0].tobytes() for leaf in leaves):
            mixed[path] = first
        else:
            mixed[path] = np.mean(leaves, axis=0, dtype=np.float64).astype(leaves[0].dtype)
    return mixed
