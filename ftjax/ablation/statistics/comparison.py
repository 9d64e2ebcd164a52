"""Arms compared to a reference: one procedure gives intervals, verdicts and P(better).

Steps: (1) scores are arm plus seed plus noise (`two_way.py`); (2) the variance of each arm's noise
is moderated by a prior over arms, whose own uncertainty is kept (`variance_prior.py`); (3) the
errors of all differences are drawn together from this model, the noise of the reference in each
of them (`difference_model.py`); (4) the intervals are so wide that all of them hold in 1 - alpha of
the draws: the single-step maximum of |t|, on a scale on which arms whose variance is known less
well count alike. With equal variances this is Dunnett's test on paired seeds. A verdict is read off
its interval: the two cannot disagree. Error rates: results/statistics/table.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from ftjax.ablation.statistics.difference_model import MOST_SEEDS, DifferenceModel
from ftjax.ablation.statistics.mean_interval import overlap_of
from ftjax.ablation.statistics.row_types import Summary
from ftjax.ablation.statistics.two_way import joined_to
from ftjax.ablation.statistics.variance_prior import SPREADS
from ftjax.errors import UserError, check_name

Verdict = Literal['better', 'worse', 'equivalent', 'undecided']


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArmComparison:
    """How the mean of an arm compares with that of the reference.

    Attributes:
      arm: its name.
      difference: arm minus reference; NaN where no seed joins them. Where runs are missing the
        effects of seeds are allowed for, so that it may differ from the difference of means.
      low, high: the interval, which holds together with those of all other arms; infinite where
        nothing is known of the variance.
      standard_error: of the difference, from moderated variances.
      seeds: finished by both.
      probability_better: that the mean of the arm is the better one, in the same model; of each
        arm alone.
      verdict: `better` or `worse` if the interval leaves out 0; else `equivalent` if it lies
        within the margin; else `undecided`.
      further_seeds: for an undecided arm, how many decide it if the estimates stay as they are;
        None where 1000 would not.
    """

    arm: str
    difference: float = float('nan')
    low: float = -float('inf')
    high: float = float('inf')
    standard_error: float = float('inf')
    seeds: int
    probability_better: float = 0.5
    verdict: Verdict = 'undecided'
    further_seeds: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """All arms but the reference, in the order of the scores.

    Attributes:
      arms: their comparisons.
      outside_prior: arms whose variance tells nothing of the others': those named, and those
        whose variance stands out.
      model: in which arms were compared; None where none could be.
      compared: the arms in it, the reference first.
    """

    reference: str
    higher_is_better: bool
    margin: float
    alpha: float
    arms: tuple[ArmComparison, ...]
    outside_prior: tuple[str, ...] = ()
    model: DifferenceModel | None = dataclasses.field(default=None, compare=False, repr=False)
    compared: tuple[str, ...] = ()

    def __getitem__(self, arm: str) -> ArmComparison:
        return next(one for one in self.arms if one.arm == arm)

    def __iter__(self) -> Iterator[ArmComparison]:
        return iter(self.arms)

    def contrast(self, weights: Mapping[str, float]) -> ArmComparison:
        """A weighted sum of means of arms, judged in the same model with the same critical value.

        Of an arm and the reference, the comparison that is in `arms`; what holds of other sums does
        not hold together, each holds with 1 - alpha or more.

        Args:
          weights: of arms; they add up to 0.

        >>> scores = {'full': [0.8, 0.9, 0.9], 'head': [0.6, 0.7, 0.6], 'last': [0.8, 0.8, 0.7]}
        >>> found = compare_to_reference(scores, 'full', higher_is_better=True, margin=0.0)
        >>> found.contrast({'head': 1, 'full': -1}).low == found['head'].low
        True
        >>> round(found.contrast({'last': 1, 'head': -1}).difference, 3)
        0.133
        """
        name = ' '.join(f'{weight:+g} {arm}' for arm, weight in weights.items())
        used = {arm: weight for arm, weight in weights.items() if weight}
        if self.model is None or not {*used} <= {*self.compared} or not used:
            return ArmComparison(arm=name, seeds=0)
        vector = np.array([used.get(arm, 0.0) for arm in self.compared[1:]])
        bound = self.model.bound(self.alpha) if self.model.known else float('nan')
        difference, error, half = self.model.combination(vector, bound)
        seeds = self.model.seeds
        if not self.model.known:
            return ArmComparison(arm=name, seeds=seeds, difference=difference)
        above = float(self.model.above(vector[None])[0])
        return ArmComparison(
            arm=name,
            seeds=seeds,
            standard_error=error,
            probability_better=above if self.higher_is_better else 1 - above,
            **judged(difference, half, self.margin, self.higher_is_better),
        )


def compare_to_reference(
    scores: Mapping[str, Sequence[float]],
    reference: str,
    *,
    higher_is_better: bool,
    margin: float,
    alpha: float = 0.05,
    outside_prior: Collection[str] = (),
    overlap: float = 0.0,
    spreads: tuple[float, ...] = SPREADS,
    draws: int = 10_000,
) -> Comparison:
    """Every arm compared to the reference, all at once.

    Args:
      scores: arm to its scores, one a seed, in the same order for all; NaN for a missing run.
      reference: the arm that the others are compared to.
      higher_is_better: of the scores.
      margin: differences up to this one do not matter; 0 for none.
      alpha: chance that one interval or more misses.
      outside_prior: arms whose variance tells nothing of the others', such as baselines.
      overlap: test examples a training example where the seeds are folds: the variance of a mean
        is then s^2 (1/n + overlap). Source: Nadeau and Bengio 2003, Machine Learning 52, 239-281.
      spreads: of variances over arms that the prior considers; (0.0,) takes them as equal.
      draws: from which intervals are read, the same in every call; more for a small alpha.

    Raises:
      UserError: an unknown arm, scores of unequal length or infinite, alpha or margin out of
        range.

    >>> scores = {
    ...     'full': [0.80, 0.82, 0.81],
    ...     'head': [0.71, 0.74, 0.72],
    ...     'lora': [0.80, 0.82, 0.80],
    ... }
    >>> found = compare_to_reference(scores, 'full', higher_is_better=True, margin=0.03)
    >>> [(one.arm, one.verdict) for one in found]
    [('head', 'worse'), ('lora', 'equivalent')]
    """
    table, names = _table(scores, reference)
    for arm in outside_prior:
        check_name(arm, scores, 'arm outside the prior:')
    if not 0 < alpha < 1 or not margin >= 0:
        raise UserError(f'alpha {alpha}, margin {margin}: expected alpha in (0, 1), margin >= 0')
    there = np.isfinite(table)
    joined = joined_to(0, there)
    seeds = dict(zip(names, (there[0] & there).sum(1).tolist(), strict=True))
    fields: dict[str, dict] = {}
    outside: tuple[str, ...] = ()
    model, compared = None, [arm for arm, one in zip(names, joined, strict=True) if one]
    if len(compared) > 1:
        model = DifferenceModel(
            table[joined][:, there[joined].any(0)],
            np.array([arm in outside_prior for arm in names])[joined],
            spreads=spreads,
            draws=max(draws, int(20 / alpha)),
            overlap=overlap,
        )
        outside = tuple(arm for arm, out in zip(compared, model.outside, strict=True) if out)
        found = _fields(model, alpha, margin, higher_is_better)
        fields = dict(zip(compared[1:], found, strict=True))
    return Comparison(
        reference=reference,
        higher_is_better=higher_is_better,
        margin=margin,
        alpha=alpha,
        model=model,
        compared=tuple(compared),
        arms=tuple(
            ArmComparison(arm=arm, seeds=seeds[arm], **fields.get(arm, {})) for arm in names[1:]
        ),
        outside_prior=outside,
    )


def _table(scores: Mapping[str, Sequence[float]], reference: str) -> tuple[np.ndarray, list[str]]:
    """The scores (arms, seeds), the reference first, and the names of their rows."""
    check_name(reference, scores, 'reference arm')
    names = [reference, *(arm for arm in scores if arm != reference)]
    if len({len(scores[arm]) for arm in names}) > 1:
        raise UserError('arms need scores of one length: a number, or NaN, for every seed')
    table = np.array([scores[arm] for arm in names], np.float64).reshape(len(names), -1)
    if np.isinf(table).any():
        raise UserError('a score is infinite: mark its run as missing (NaN) instead')
    return table, names


def _fields(
    model: DifferenceModel, alpha: float, margin: float, higher_is_better: bool
) -> list[dict]:
    """The fields of ArmComparison that a model has, an arm each."""
    if not model.known:
        return [{'difference': float(difference)} for difference in model.differences]
    bound = model.bound(alpha)
    above = model.above() if higher_is_better else 1 - model.above()
    rows = zip(
        model.differences,
        model.halves(bound),
        model.standard_errors,
        above,
        model.further_seeds(bound, margin),
        strict=True,
    )
    found = []
    for difference, half, error, better, further in rows:
        fields = judged(float(difference), float(half), margin, higher_is_better)
        helps = fields['verdict'] == 'undecided' and further <= MOST_SEEDS
        fields |= {'standard_error': float(error), 'probability_better': float(better)}
        found.append({**fields, 'further_seeds': int(further) if helps else None})
    return found


def judged(difference: float, half: float, margin: float, higher_is_better: bool) -> dict[str, Any]:
    """A difference with its interval and the verdict that follows from this."""
    low, high = difference - half, difference + half
    verdict: Verdict = 'undecided'
    if low > 0 or high < 0:
        verdict = 'better' if (low > 0) == higher_is_better else 'worse'
    elif max(-low, high) <= margin:
        verdict = 'equivalent'
    return {'difference': difference, 'low': low, 'high': high, 'verdict': verdict}


def compare_arms(
    arms: Mapping[str, Mapping[Any, float | None]], reference: str, **options: Any
) -> Comparison:
    """As `compare_to_reference`, from scores by seed; None, or no score, for a missing run.

    Args:
      arms: name to {seed: score}.
      **options: of `compare_to_reference`.
    """
    seeds = sorted({int(seed) for scores in arms.values() for seed in scores})
    known = {arm: {int(seed): value for seed, value in of.items()} for arm, of in arms.items()}
    table = {
        arm: [float('nan') if (score := of.get(seed)) is None else score for seed in seeds]
        for arm, of in known.items()
    }
    return compare_to_reference(table, reference, **options)


def options_of(summary: Summary) -> dict[str, Any]:
    """The options of `compare_arms` that a summary of an ablation was made with."""
    return {
        'higher_is_better': summary['higher_is_better'],
        'margin': summary['margin'],
        'alpha': 1 - summary['confidence'],
        'outside_prior': summary['outside_prior'],
        'overlap': overlap_of(summary.get('folds')),
    }
