"""The interval of an area under the ROC curve, of independent examples or of groups of them."""

from __future__ import annotations

import numpy as np

from ftjax.evaluation.intervals import holding, wilson_interval


def auroc_interval(
    scores: np.ndarray,
    positive: np.ndarray,
    groups: np.ndarray | None = None,
    confidence: float = 0.95,
) -> list[float] | None:
    """That of the mean over columns of the area under the curve; None where none is defined.

    Normal on the logit scale, with DeLong's variance; over groups the contributions of each are
    summed first, as Obuchowski does. Where all positives lie above all others, or below, that
    variance is 0: then Wilson's interval of as many right answers as there are examples of the
    rarer kind, or groups that hold one.

    Args:
      scores: (n, k), higher for positives.
      positive: (n, k) bool; columns without a positive or without another are left out.
      groups: (n,) what each example belongs to; None where examples are independent.
      confidence: probability content.

    None too below two groups, and where the rarer kind is a single example and not perfectly
    ranked. Source: DeLong et al. 1988, 10.2307/2531595; Obuchowski 1997, 10.2307/2533958.

    >>> labels = np.array([0, 0, 1, 1])[:, None] > 0
    >>> low, high = auroc_interval(np.array([[0.1], [0.4], [0.35], [0.8]]), labels)
    >>> round(low, 2), round(high, 2)
    (0.07, 0.99)
    """
    from scipy import stats

    if not np.isfinite(scores).all():
        return None
    parts, areas, rarest = [], [], len(scores)
    for column, these in zip(scores.T, positive.T, strict=True):
        count = int(these.sum())
        if not 0 < count < len(these):
            continue
        area, own = _contributions(column, these, groups is None)
        areas.append(area)
        parts.append(own)
        rarest = min(rarest, holding(these, groups), holding(~these, groups))
    if not areas:
        return None
    area, sums = float(np.mean(areas)), np.mean(parts, axis=0)
    if groups is not None:
        sums = np.bincount(np.unique(groups, return_inverse=True)[1], weights=sums)
        if len(sums) < 2:
            return None
        sums = sums * np.sqrt(len(sums) / (len(sums) - 1))
    if area in (0.0, 1.0):
        return list(wilson_interval(round(area * rarest), rarest, confidence))
    error = float(np.sqrt((sums**2).sum()))
    if not np.isfinite(error) or not error:
        return None
    centre = np.log(area / (1 - area))
    reach = stats.norm.ppf((1 + confidence) / 2) * error / (area * (1 - area))
    return [float(1 / (1 + np.exp(-bound))) for bound in (centre - reach, centre + reach)]


def _contributions(
    scores: np.ndarray, positive: np.ndarray, corrected: bool
) -> tuple[float, np.ndarray]:
    """(area, (n,) what each example adds to the error): the squares of these sum to the variance.

    `corrected` divides by one less than the number of each kind, as DeLong does.
    """
    from scipy import stats

    found, others = int(positive.sum()), int((~positive).sum())
    ranks = stats.rankdata(scores)
    above = (ranks[positive] - stats.rankdata(scores[positive])) / others
    below = 1 - (ranks[~positive] - stats.rankdata(scores[~positive])) / found
    area, own = float(above.mean()), np.zeros(len(scores))
    for which, values, count in ((positive, above, found), (~positive, below, others)):
        with np.errstate(divide='ignore', invalid='ignore'):
            scale = np.sqrt(count * (count - 1)) if corrected else count
            own[which] = (values - area) / scale
    return area, own
