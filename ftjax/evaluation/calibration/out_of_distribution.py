"""How unlike the training data an input is: scores, and how well they tell two sets apart.

Sources: Liu et al. (2020), Energy-based out-of-distribution detection, arXiv 2010.03759; Lee et al.
(2018), A simple unified framework for detecting out-of-distribution samples, arXiv 1807.03888.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ftjax.errors import UserError
from ftjax.evaluation.intervals import interval_at_bound


def energy(logits: np.ndarray) -> np.ndarray:
    """-log sum exp of the logits (n, classes), in nats: (n,), higher for unfamiliar inputs.

    >>> energy(np.zeros((1, 4))).round(4).tolist()
    [-1.3863]
    """
    logits = np.asarray(logits, np.float64)
    highest = logits.max(axis=1)
    return -(highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1)))


@dataclasses.dataclass(frozen=True)
class Gaussians:
    """One normal distribution a class, with one covariance for all, of a stage's embeddings."""

    means: np.ndarray
    """(classes that occur, width)."""
    precision: np.ndarray
    """Inverse of the covariance, (width, width)."""

    @classmethod
    def fit(cls, features: np.ndarray, labels: np.ndarray) -> Gaussians:
        """From training features (n, width) and their classes, int (n,).

        The covariance is shrunk as Ledoit and Wolf (2004) do, so that it can be inverted where
        there are fewer examples than dimensions too.
        """
        from sklearn.covariance import LedoitWolf

        features, labels = np.asarray(features, np.float64), np.asarray(labels)
        if len(features) != len(labels) or len(labels) < 2:
            raise UserError(
                f'{len(features)} features for {len(labels)} labels; expected 2 or more'
            )
        known, group = np.unique(labels, return_inverse=True)
        means = np.stack([features[group == g].mean(axis=0) for g in range(len(known))])
        fitted = LedoitWolf(assume_centered=True).fit(features - means[group])
        return cls(means, fitted.precision_)

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Squared Mahalanobis distance to the nearest class: (n,), higher for unfamiliar inputs."""
        found = np.full(len(features), np.inf)
        for mean in self.means:
            gaps = np.asarray(features, np.float64) - mean
            found = np.minimum(found, np.einsum('ni,ij,nj->n', gaps, self.precision, gaps))
        return found


def separation(familiar: np.ndarray, unfamiliar: np.ndarray, seed: int = 0) -> dict[str, object]:
    """`auroc`: how often an unfamiliar input has the higher score, equal ones counted half.

    Args:
      familiar: scores of test data like those of training, (n,).
      unfamiliar: scores of other data, (m,).
      seed: of the bootstrap (95 %), which resamples both sets. Where all scores of one set lie
        above the other's it has no width: then the interval is Wilson's of as many right answers
        as the smaller set has inputs.

    >>> separation(np.array([0.0, 1.0]), np.array([2.0, 3.0]))['auroc']
    1.0
    """
    area, fewest = auroc(familiar, unfamiliar), min(len(familiar), len(unfamiliar))
    rng = np.random.default_rng(seed)
    resampled = [
        auroc(rng.choice(familiar, len(familiar)), rng.choice(unfamiliar, len(unfamiliar)))
        for _ in range(200)
    ]
    low, high = np.percentile(resampled, [2.5, 97.5])
    return {
        'auroc': area,
        'auroc_interval': interval_at_bound(area, fewest) or [float(low), float(high)],
        'n': [len(familiar), len(unfamiliar)],
    }


def auroc(low: np.ndarray, high: np.ndarray) -> float:
    """Area under the ROC curve of scores for which `high` should be above `low`."""
    from scipy import stats

    ranks = stats.rankdata(np.concatenate([low, high]))
    above = ranks[len(low) :].sum() - len(high) * (len(high) + 1) / 2
    return float(above / (len(low) * len(high)))
