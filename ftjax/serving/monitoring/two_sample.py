"""Whether two samples are of one distribution: several statistics under the same permutations.

Each statistic is computed for the samples as they are and for random divisions of all examples
into two samples of these sizes. If the examples are exchangeable, the rank of the first among all
is uniform; with ties broken at random p is uniform on (0, 1), exactly, for samples of any size.

Source: E. Lehmann and J. Romano (2005), Testing Statistical Hypotheses, 15.2; D. Lopez-Paz and
M. Oquab (2017), Revisiting Classifier Two-Sample Tests, ICLR.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ftjax.serving.monitoring.traffic_rows import Rows

PERMUTATIONS = 1999
WIDEST = 32
"""Principal components of the features that the classifier is given."""
CLASSES = 64
"""Classes that are counted one by one; the rarest of more are counted as one."""
FEWEST = 20
"""Known values of each sample, below which a column is not compared."""
_CHUNK = 250
_RIDGE = 0.1


@dataclasses.dataclass(frozen=True)
class Compared:
    """One statistic of two samples."""

    statistic: float
    """AUC, KS or PSI."""
    p: float
    """Uniform on (0, 1) for exchangeable examples."""
    typical: float
    """Median of the statistic over the random divisions: what chance alone gives."""
    of: str = ''
    """Which column was farthest, of several."""


def compare(
    old: Rows, new: Rows, names: tuple[str, ...], seed: int, permutations: int = PERMUTATIONS
) -> dict[str, Compared | None]:
    """Compares two samples; None for what cannot be compared.

    `features`: the cross-fitted AUC of a linear classifier; `confidence`: Kolmogorov and
    Smirnov's distance of the values; `classes`: the population stability index of the most
    probable classes; `inputs`: the largest distance of a measure.

    Args:
      old, new: the samples.
      names: of the measures.
      seed: of divisions and of ties.
      permutations: random divisions.
    """
    random = np.random.default_rng(seed)
    rows = Rows.joined([old, new])
    # Places must say nothing of the sample, so that ties and halves cannot either.
    order = random.permutation(len(rows))
    rows, is_new = rows.take(order), (order >= len(old))
    statistics = {
        'features': _auc(rows.features) if len(rows) >= 2 * FEWEST else None,
        'confidence': _largest_distance(rows.values[:, None], is_new),
        'classes': _stability(rows.answers, is_new),
        'inputs': _largest_distance(rows.measures, is_new),
    }
    wanted = {name: one for name, one in statistics.items() if one is not None}
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in wanted}
    for start in range(0, permutations + 1, _CHUNK):
        count = min(_CHUNK, permutations + 1 - start)
        labels = random.permuted(np.tile(is_new, (count, 1)), axis=1)
        if not start:
            labels[0] = is_new  # the samples as they are
        for name, one in wanted.items():
            drawn[name].append(one(labels.T))
    found: dict[str, Compared | None] = dict.fromkeys(statistics)
    for name in wanted:
        # The last bits depend on the place in a chunk, and equal values must be equal.
        values = np.round(np.concatenate(drawn[name]), 9)
        above = int((values > values[0]).sum())
        tied = int((values == values[0]).sum())
        p = (above + float(random.random()) * tied) / len(values)
        typical = float(np.median(values[1:])) if permutations else float(values[0])
        of = ''
        if name == 'inputs':
            of = names[int(distances(rows.measures, is_new).argmax())]
        found[name] = Compared(float(values[0]), max(p, 1e-12), typical, of)
    return found


def _auc(features: np.ndarray):
    """(n, divisions) bool -> the AUC of a classifier that is fitted on the other half of the rows.

    Fisher's linear discriminant with the covariance of all rows of a half, which is the same
    direction as with that within the samples and needs no fit for each division.
    """
    columns = components(features)
    half = len(columns) // 2
    halves = ((columns[:half], columns[half:]), (columns[half:], columns[:half]))
    fits = []
    for fitted, judged in halves:
        centre = fitted.mean(axis=0)
        moved = fitted - centre
        spread = moved.T @ moved / len(fitted)
        ridge = _RIDGE * max(float(np.trace(spread)) / len(spread), 1e-30)
        solved = np.linalg.solve(spread + ridge * np.eye(len(spread)), (judged - centre).T)
        fits.append((moved.T.astype(np.float32), solved.T.astype(np.float32)))

    def statistic(labels: np.ndarray) -> np.ndarray:
        parts = ((labels[:half], labels[half:]), (labels[half:], labels[:half]))
        areas, weights = [], []
        for (moved, solved), (seen, judged) in zip(fits, parts, strict=True):
            new, old = seen.sum(axis=0), (~seen).sum(axis=0)
            contrast = seen / np.maximum(new, 1) - ~seen / np.maximum(old, 1)
            scores = solved @ (moved @ contrast.astype(np.float32))
            areas.append(areas_of(scores, judged))
            weights.append(judged.sum(axis=0) * (~judged).sum(axis=0))
        total = np.maximum(sum(weights), 1)
        return sum(a * w for a, w in zip(areas, weights, strict=True)) / total

    return statistic


def components(features: np.ndarray) -> np.ndarray:
    """Principal components of standardised features, and how far each row lies from the mean.

    None of it looks at the samples. The distance shows noise, which moves no mean.
    """
    wide = features.astype(np.float64)
    deviation = wide.std(axis=0)
    standard = (wide - wide.mean(axis=0)) / np.where(deviation > 1e-12, deviation, 1.0)
    distance = np.log1p((standard**2).mean(axis=1))
    if standard.shape[1] > 512:  # keeps distances to a few per cent, and the time small
        random = np.random.default_rng(0)
        standard = standard @ random.normal(size=(standard.shape[1], 512)) / 512**0.5
    values, vectors = np.linalg.eigh(standard.T @ standard / len(standard))
    most = np.flatnonzero(values > 1e-9 * max(values[-1], 1e-30))[-WIDEST:]
    made = standard @ vectors[:, most] / np.sqrt(values[most])
    spread = distance.std()
    distance = (distance - distance.mean()) / (spread if spread > 1e-12 else 1.0)
    return np.concatenate([made, distance[:, None]], axis=1)


def areas_of(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Areas under the ROC curve by column, (n, k) each; one half where a column has one kind.

    >>> areas_of(np.array([[0.1], [0.4], [0.35], [0.8]]), np.array([[0], [0], [1], [1]]) > 0)
    array([0.75])
    """
    order = np.argsort(scores, axis=0)
    sorted_kinds = np.take_along_axis(positive, order, axis=0)
    places = np.arange(1, len(scores) + 1, dtype=np.float64)
    n = positive.sum(axis=0).astype(np.float64)
    m = len(scores) - n
    above = places @ sorted_kinds - n * (n + 1) / 2
    return np.where(n * m > 0, above / np.maximum(n * m, 1), 0.5)


def _largest_distance(values: np.ndarray, is_new: np.ndarray):
    """(n, divisions) bool -> the largest of the columns' distances; None without a column."""
    usable = [
        column
        for column in values.T
        if min((~np.isnan(column[kind])).sum() for kind in (is_new, ~is_new)) >= FEWEST
    ]
    if not usable:
        return None
    prepared = [_sorted(column) for column in usable]

    def statistic(labels: np.ndarray) -> np.ndarray:
        return np.max([_distance(labels, *one) for one in prepared], axis=0)

    return statistic


def _sorted(column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(places of the known values in ascending order, the last place of each value)."""
    known = np.flatnonzero(~np.isnan(column))
    order = known[np.argsort(column[known], kind='stable')]
    return order, np.flatnonzero(np.diff(column[order], append=np.inf))


def _distance(labels: np.ndarray, order: np.ndarray, last: np.ndarray) -> np.ndarray:
    seen = np.cumsum(labels[order], axis=0, dtype=np.float32)[last]
    n = np.maximum(seen[-1], 1)
    m = np.maximum(len(order) - seen[-1], 1)
    return np.abs(seen / n - ((last + 1)[:, None] - seen) / m).max(axis=0)


def distances(values: np.ndarray, is_new: np.ndarray) -> np.ndarray:
    """Kolmogorov and Smirnov's distance of each column (n, k), NaN left out; -1 if unknown."""
    found = np.full(values.shape[1], -1.0)
    for place, column in enumerate(values.T):
        if min((~np.isnan(column[kind])).sum() for kind in (is_new, ~is_new)) >= FEWEST:
            found[place] = _distance(is_new[:, None], *_sorted(column))[0]
    return found


def _stability(answers: np.ndarray, is_new: np.ndarray):
    """(n, divisions) bool -> the population stability index; None without classes."""
    known = answers >= 0
    if min((known & kind).sum() for kind in (is_new, ~is_new)) < FEWEST:
        return None
    names, codes = np.unique(answers[known], return_inverse=True)
    if len(names) > CLASSES:
        common = np.argsort(-np.bincount(codes), kind='stable')[: CLASSES - 1]
        place = np.full(len(names), CLASSES - 1)
        place[common] = np.arange(CLASSES - 1)
        codes = place[codes]
    each = (np.arange(codes.max() + 1)[:, None] == codes).astype(np.float32)
    totals = each.sum(axis=1)[:, None]

    def statistic(labels: np.ndarray) -> np.ndarray:
        new = each @ labels[known].astype(np.float32)
        return stability_index(new, totals - new)

    return statistic


def stability_index(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """The population stability index of counts (classes, k), half a count added to each.

    >>> counts = np.array([[50.0], [50.0]])
    >>> stability_index(counts, counts).round(6).tolist()
    [0.0]
    """
    p, q = (c + 0.5 for c in (new, old))
    p, q = p / p.sum(axis=0), q / q.sum(axis=0)
    return ((p - q) * np.log(p / q)).sum(axis=0)
