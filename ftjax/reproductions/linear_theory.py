"""T0a: linear probing, fine-tuning, and one after the other, where theory knows the answer.

Kumar et al. 2022 (arXiv:2202.10054): targets w* B* x with orthonormal rows in B*; training inputs
lie in a subspace, tests outside of the distribution do not. A pretrained B0 is B* with an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ftjax.ablation.gates.gates import gate, ordering
from ftjax.reproductions.descent import descend, orthonormal_rows, predictions, stacked
from ftjax.reproductions.two_layer import TwoLayer


def errors(
    feature_error: float,
    seeds: int = 5,
    inputs: int = 60,
    width: int = 5,
    subspace: int = 25,
    examples: int = 60,
    steps: int = 20000,
    rate: float = 0.05,
) -> dict[str, dict[str, np.ndarray]]:
    """Squared errors in and out of distribution of each arm: {arm: {'id', 'ood': (seeds,)}}.

    B0 has the orthonormalised rows of B* + feature_error / sqrt(inputs) Gaussian noise; the head
    starts at Gaussian values of expected length 1. The error out of distribution is that under
    inputs with identity covariance, |B w - B* w*|^2, of a target of length 1.
    """
    first, last, x, y, bases, targets = [], [], [], [], [], []
    for seed in range(seeds):
        draw = np.random.default_rng(seed)
        truth = orthonormal_rows(draw, (width, inputs))
        weights = draw.normal(size=width)
        weights /= np.linalg.norm(weights)
        basis = orthonormal_rows(draw, (subspace, inputs))
        noise = draw.normal(size=truth.shape) / np.sqrt(inputs)
        points = draw.normal(size=(examples, subspace)) @ basis
        first.append(orthonormal_rows(draw, truth + feature_error * noise).T)
        last.append(draw.normal(size=width) / np.sqrt(width))
        targets.append(truth.T @ weights)
        x.append(points)
        y.append(points @ targets[-1])
        bases.append(basis)
    network = TwoLayer(inputs=inputs, width=width, act='identity')
    start = stacked(np.stack(first), np.stack(last))
    data = np.stack(x).astype(np.float32), np.stack(y).astype(np.float32)
    rates = np.full(seeds, rate)
    probed = descend(network, start, 'head', *data, rates, steps)
    ends = {
        'LP': probed,
        'FT': descend(network, start, 'full', *data, rates, steps),
        'LP-FT': descend(network, probed, 'full', *data, rates, steps),
    }
    found = {}
    for arm, end in ends.items():
        unit = np.broadcast_to(np.eye(inputs, dtype=np.float32), (seeds, inputs, inputs))
        off = np.asarray(predictions(network, end, unit), np.float64) - np.stack(targets)
        inside = np.einsum('smi,si->sm', np.stack(bases), off)
        found[arm] = {'id': (inside**2).sum(1), 'ood': (off**2).sum(1)}
    return found


def verdicts(found: Mapping[float, Mapping[str, Any]]) -> list[dict[str, object]]:
    """The gates of Kumar's theorems, and the sign of LP - FT at the largest feature error."""
    rows = []
    for error, arms in found.items():
        inside, outside = ({arm: of[kind] for arm, of in arms.items()} for kind in ('id', 'ood'))
        claim = f'error {error:g}: ID error FT below LP'
        rows.append(ordering(claim, inside, 'FT', 'LP', 'FT'))
        if error <= 0.3:
            claim = f'error {error:g}: OOD error LP below FT'
            rows.append(ordering(claim, outside, 'LP', 'FT', 'FT'))
        other = min(('LP', 'FT'), key=lambda arm: outside[arm].mean())
        claim = f'error {error:g}: LP-FT has the lowest mean OOD error'
        rows.append(ordering(claim, outside, 'LP-FT', other, 'FT'))
    largest = max(found)
    gap = found[largest]['LP']['ood'] - found[largest]['FT']['ood']
    rows.append(gate(f'error {largest:g}: OOD error LP minus FT', gap, 'report'))
    return rows


def rows(seeds: int = 5, **options: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of an ablation over feature errors, and the verdicts."""
    found = {error: errors(error, seeds, **options) for error in (0.1, 0.3, 1.0, 3.0)}
    made = [
        theory_row(
            f'feature error {error:g}',
            arm,
            seed,
            float(values['ood'][seed]),
            float(values['id'][seed]),
        )
        for error, arms in found.items()
        for arm, values in arms.items()
        for seed in range(seeds)
    ]
    return made, verdicts(found)


def theory_row(task: str, arm: str, seed: int, test: float, val: float) -> dict[str, object]:
    """A finished run as the summary reads it; `val` is the error that its choices saw."""
    cell = {'task': task, 'arm': arm, 'seed': seed, 'rate': None, 'status': 'ok'}
    return {**cell, 'test': {'error': test}, 'val': {'error': val}}
