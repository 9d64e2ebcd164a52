"""T0b: which layer of a two-layer ReLU network to train, when inputs or outputs have shifted.

Lee et al. 2022 (arXiv:2210.11466), section 4: the network is right on the source; under an input
shift the target is f(A x), under an output shift the last layer's weights are others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.ablation.gates.gates import gate, ordering
from ftjax.reproductions.descent import descend, predictions, stacked
from ftjax.reproductions.linear_theory import theory_row
from ftjax.reproductions.two_layer import TwoLayer

ARMS = {'first': 'first:1', 'last': 'head', 'all': 'full'}
SHIFTS = ('input', 'output')
RATES = (3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
TUNING, TESTING = 200, 2000
SHIFT = 0.5
"""Standard deviation of the sum that each input gets of the others; the size is our choice."""


def errors(
    shift: str,
    examples: int,
    seeds: int = 5,
    inputs: int = 10,
    width: int = 40,
    steps: int = 4000,
    rates: Sequence[float] = RATES,
) -> dict[str, dict[str, np.ndarray]]:
    """Squared errors over the target's variance at the best rates: {arm: {'test', 'tune'}}.

    Weights are Gaussian, scaled to keep variances. A is 1 + SHIFT G / sqrt(inputs) with Gaussian
    G; under an output shift the last layer is drawn anew. The rate of every arm and seed is
    chosen on 200 further points. All arms see the same data. Errors are of shape (seeds,).
    """
    network = TwoLayer(inputs=inputs, width=width, act='relu')
    first, last, parts = [], [], {'train': [], 'tune': [], 'test': []}
    for seed in range(seeds):
        draw = np.random.default_rng((seed, SHIFTS.index(shift)))
        kernel = draw.normal(size=(inputs, width)) / np.sqrt(inputs)
        weights = draw.normal(size=width) / np.sqrt(width)
        mixing = np.eye(inputs) + SHIFT * draw.normal(size=(inputs, inputs)) / np.sqrt(inputs)
        others = draw.normal(size=width) / np.sqrt(width)
        first.append(kernel)
        last.append(weights)
        true = (mixing @ kernel, weights) if shift == 'input' else (kernel, others)
        for name, count in (('train', examples), ('tune', TUNING), ('test', TESTING)):
            x = draw.normal(size=(count, inputs))
            parts[name].append((x, np.maximum(x @ true[0], 0) @ true[1]))
    many = {
        name: [np.stack(side).astype(np.float32) for side in zip(*pairs, strict=True)]
        for name, pairs in parts.items()
    }

    def each(array):  # every seed with every rate
        return np.repeat(array, len(rates), axis=0)

    start = stacked(each(np.stack(first)), each(np.stack(last)))
    x, y = map(each, many['train'])
    tried = np.tile(rates, seeds)
    found = {}
    for arm, freeze in ARMS.items():
        end = descend(network, start, freeze, x, y, tried, steps)
        scores = {}
        for name in ('tune', 'test'):
            points, targets = map(each, many[name])
            off = np.asarray(predictions(network, end, points), np.float64) - targets
            relative = (off**2).mean(1) / targets.var(1)
            scores[name] = np.nan_to_num(relative, nan=np.inf).reshape(seeds, len(rates))
        best = scores['tune'].argmin(1)
        found[arm] = {name: value[np.arange(seeds), best] for name, value in scores.items()}
    return found


def verdicts(errors: Mapping[tuple[str, int], Mapping[str, Any]]) -> list[dict[str, object]]:
    """The gates: each shift is met best by the layer it is in."""
    rows = []
    found = {key: {arm: e['test'] for arm, e in arms.items()} for key, arms in errors.items()}
    sizes = sorted({count for _, count in found})
    for count in sizes:
        arms = found['input', count]
        claim = f'input shift, n {count}: first below last'
        rows.append(ordering(claim, arms, 'first', 'last', 'all'))
    gaps = [found['input', n]['all'] - found['input', n]['first'] for n in (sizes[0], sizes[-1])]
    claim = f'input shift: gap of all to first is smaller at n {sizes[-1]} than at {sizes[0]}'
    rows.append(gate(claim, gaps[0] - gaps[1]))
    for count in sizes:
        arms = found['output', count]
        claim = f'output shift, n {count}: last below first'
        rows.append(ordering(claim, arms, 'last', 'first', 'all'))
        # Far below, as the paper's table has it: by more than half of the other's error.
        far = arms['first'] / 2 - arms['last']
        rows.append(gate(f'output shift, n {count}: last below half of first', far))
        if count >= 40:
            claim = f'output shift, n {count}: last below all'
            rows.append(ordering(claim, arms, 'last', 'all', 'all'))
    return rows


def rows(seeds: int = 5, **options: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of an ablation over all shifts and sizes, and the verdicts."""
    found = {
        (shift, count): errors(shift, count, seeds, **options)
        for shift in SHIFTS
        for count in (20, 40, 80, 200)
    }
    made = [
        theory_row(f'{shift} shift, n {count}', arm, seed, float(test), float(tune))
        for (shift, count), arms in found.items()
        for arm, scores in arms.items()
        for seed, (test, tune) in enumerate(zip(scores['test'], scores['tune'], strict=True))
    ]
    return made, verdicts(found)
