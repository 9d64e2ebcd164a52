"""New grids like a stored one: seeds drawn from its means, effects of seeds and variances.

A stored grid has a few seeds, too few to leave some out and see what a race would have done. The
model is score = mean of arm and rate + effect of the seed + noise, normal, for validation and test
together. Part of an arm's noise on a seed is common to its rates.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.ablation.rates.choice import score_of
from ftjax.ablation.statistics.row_types import Rows
from ftjax.evaluation.metric import Metric

Cell = tuple[str, float | None]


@dataclasses.dataclass(frozen=True)
class GridModel:
    """How the scores of a grid come about; columns are validation and test.

    Attributes:
      rates: arm to its rates, (None,) for one that is not trained.
      means: (arm, rate) to mean scores (2,).
      sds: (arm, rate) to standard deviations of the noise (2,).
      seconds: (arm, rate) to the time of a run.
      seed_effect: covariance of the effects of a seed (2, 2).
      correlation: of the noise of validation and test.
      common: share of the noise's variance that the rates of an arm have in common on a seed.
    """

    rates: Mapping[str, tuple[float | None, ...]]
    means: Mapping[Cell, np.ndarray]
    sds: Mapping[Cell, np.ndarray]
    seconds: Mapping[Cell, float]
    seed_effect: np.ndarray
    correlation: float = 0.5
    common: float = 0.3

    def draw(
        self, seeds: Sequence[int], metric: Metric, rng: np.random.Generator
    ) -> dict[tuple[str, float | None, int], dict[str, Any]]:
        """Rows of all cells for so many new seeds."""
        effects = rng.multivariate_normal(np.zeros(2), self.seed_effect, len(seeds), method='eigh')
        mix = np.linalg.cholesky([[1.0, self.correlation], [self.correlation, 1.0]]).T
        found = {}
        for arm, rates in self.rates.items():
            shared = rng.standard_normal((len(seeds), 2)) * math.sqrt(self.common)
            for rate in rates:
                own = rng.standard_normal((len(seeds), 2)) * math.sqrt(1 - self.common)
                cell = arm, rate
                scores = self.means[cell] + effects + (shared + own) @ mix * self.sds[cell]
                for seed, (val, test) in zip(seeds, scores.tolist(), strict=True):
                    found[(*cell, seed)] = {
                        'arm': arm,
                        'rate': rate,
                        'seed': seed,
                        'status': 'ok',
                        'val': {metric.name: val},
                        'test': {metric.name: test},
                        'wall_seconds': self.seconds[cell],
                    }
        return found


def model_of(rows: Rows, metric: Metric) -> GridModel:
    """The model of a stored grid of one task, from the seeds that every cell finished.

    A run takes as long as those of its arm did on average: rates differ because the first one was
    compiled. The variance of a cell is known from two degrees of freedom or so: half of it is
    taken from the cell and half is the median over the grid.

    Args:
      rows: of runs.jsonl, at least two seeds.
      metric: of validation and test.
    """
    cells: dict[Cell, dict[int, np.ndarray]] = {}
    times: dict[str, list[float]] = {}
    for row in rows:
        scores = [score_of(row, metric, split) for split in ('val', 'test')]
        if None not in scores:
            cell = row['arm'], row['rate']
            cells.setdefault(cell, {})[row['seed']] = np.array(scores, float)
            times.setdefault(row['arm'], []).append(row.get('wall_seconds') or 0.0)
    seeds = sorted(set.intersection(*(set(of_cell) for of_cell in cells.values())))
    table = np.array([[of_cell[seed] for seed in seeds] for of_cell in cells.values()])
    means = table.mean(1)
    effects = (table - means[:, None]).mean(0)
    residuals = table - means[:, None] - effects
    df = len(seeds) - 1
    variances = (residuals**2).sum(1) / df
    sds = np.sqrt(0.5 * variances + 0.5 * np.median(variances, 0))
    scaled = residuals / np.sqrt(np.maximum(variances, 1e-12))[:, None]
    moving = (variances > 1e-12).all(1)
    correlation = float((scaled[moving].prod(2)).sum(1).mean() / df) if moving.any() else 0.0
    names = [arm for arm, _ in cells]
    products = [
        float((scaled[i, :, 1] * scaled[j, :, 1]).sum() / df)
        for i, arm in enumerate(names)
        for j in range(i)
        if names[j] == arm and moving[i] and moving[j]
    ]
    rates: dict[str, list[float | None]] = {}
    for arm, rate in cells:
        rates.setdefault(arm, []).append(rate)
    return GridModel(
        rates={arm: tuple(sorted(of, key=lambda rate: rate or 0.0)) for arm, of in rates.items()},
        means=dict(zip(cells, means, strict=True)),
        sds=dict(zip(cells, sds, strict=True)),
        seconds={cell: sum(times[cell[0]]) / len(times[cell[0]]) for cell in cells},
        seed_effect=effects.T @ effects / df,
        correlation=float(np.clip(correlation, -0.9, 0.9)),
        common=float(np.clip(np.mean(products), 0.0, 0.95)) if products else 0.0,
    )
