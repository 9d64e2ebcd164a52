"""Whether two splits are of one distribution: can a classifier tell them apart?

Source: D. Lopez-Paz and M. Oquab (2017), Revisiting Classifier Two-Sample Tests, ICLR.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ftjax.data.audit.measures.label_errors import narrow

FEWEST = 20
"""Examples of each split, below which nothing can be told."""
_MOST = 4000
"""Examples of each split that are compared."""
_PERMUTATIONS = 2000


@dataclasses.dataclass(frozen=True)
class Shift:
    """How well a classifier tells two splits apart."""

    auc: float
    """Area under the ROC curve on examples it has not seen: 0.5 for one distribution."""
    p: float
    """Of a permutation test of that: share of random relabellings with an AUC at least as high."""


def shift_between(
    left: np.ndarray, right: np.ndarray, seed: int = 0, permutations: int = _PERMUTATIONS
) -> Shift | None:
    """A classifier two-sample test on features (n, d) and (m, d); None for too few examples.

    A logistic regression is fitted on half of each; on the other half the AUC is measured. There
    its scores are those of a fixed function, so that permuting whose they are gives the exact
    distribution under no shift.

    >>> rng = np.random.default_rng(0)
    >>> found = shift_between(rng.normal(size=(99, 5)), rng.normal(size=(99, 5)) + 2)
    >>> found.auc > 0.95, found.p < 0.01
    (True, True)
    """
    from scipy.stats import rankdata
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if min(len(left), len(right)) < FEWEST:
        return None
    rng = np.random.default_rng(seed)
    parts = [part[rng.permutation(len(part))[:_MOST]] for part in (left, right)]
    features = narrow(np.concatenate(parts), seed)
    which = np.repeat([0, 1], [len(part) for part in parts])
    order = rng.permutation(len(which))
    order = order[np.argsort(which[order], kind='stable')]
    fitted, judged = order[::2], order[1::2]
    head = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.01, max_iter=200, class_weight='balanced')
    )
    head.fit(features[fitted], which[fitted])
    ranks = rankdata(head.decision_function(features[judged]))
    of = which[judged]
    n, m = int((of == 0).sum()), int((of == 1).sum())

    def auc(second: np.ndarray) -> np.ndarray:
        return (ranks @ second - m * (m + 1) / 2) / (n * m)

    found = float(auc(of.astype(float)))
    drawn = rng.permuted(np.tile(of.astype(float), (permutations, 1)), axis=1)
    null = auc(drawn.T)
    return Shift(found, float((1 + (null >= found - 1e-12).sum()) / (permutations + 1)))
