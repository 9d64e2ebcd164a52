"""Gates of a reproduction: orderings among arms that must come out, each with its verdict.

A gate is written in a config as its rule and the arms that the rule is about:

    'gates': (('rises', 'head', 'last:1', 'full'), ('worst', 'head'))

"Above" means better: of an error the lower. A gate is judged as the table is: by the same
comparison of all arms, with the same critical value, so that the two cannot disagree
(ftjax/ablation/statistics/comparison.py). It passes if the interval of its value lies above 0.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ftjax.ablation.statistics.comparison import (
    ArmComparison,
    compare_arms,
    compare_to_reference,
    options_of,
)
from ftjax.ablation.statistics.mean_interval import mean_interval
from ftjax.ablation.statistics.row_types import Summary
from ftjax.errors import UserError, check_name
from ftjax.plotting import number_formats

HOW_GATES_PASS = (
    'Gate: a statement fixed before the runs. Value: what was measured for it, above 0 where it '
    'holds, with its interval. Kind: a report is told beside the gates and cannot fail. A gate '
    'passes if the interval of its value lies above 0, fails if it lies below 0 or within the '
    'margin of equivalence, and is undecided otherwise. Where a statement is on several '
    'differences, all must hold; the nearest is shown. Intervals of gates that a config '
    'names are those of the table: of the same model, with the same critical value. Of other '
    'verdicts (on movement, weights, soups, theory) they may be t intervals over seeds, each by '
    'itself.'
)
Weights = dict[str, float]
"""Arm to its weight in a sum of means; weights add up to 0."""
Means = Mapping[str, float]
"""Arm to its mean, less that of one of the arms; higher is better."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """What a rule says of some arms.

    Attributes:
      gate: a sentence with the arms' names.
      value: what is shown; the claim holds if it is better than 0.
      better: what must be better than 0 besides.
      not_worse: what must not be worse than 0.
    """

    gate: str
    value: Weights
    better: Sequence[Weights] = ()
    not_worse: Sequence[Weights] = ()


def rises(means: Means, *arms: str) -> Claim:
    """The last arm is above the first, and no arm is significantly below the one before it."""
    words = f'rises over {", ".join(arms)}: {arms[-1]} minus {arms[0]}, and no step falls'
    return Claim(words, _minus(arms[-1], arms[0]), not_worse=_steps(arms))


def saturates(means: Means, *arms: str) -> Claim:
    """The first half of the arms' steps gains more than the second half."""
    first, middle, last = arms[0], arms[len(arms) // 2], arms[-1]
    words = f'saturates: gain {first} to {middle} minus gain {middle} to {last}'
    return Claim(words, _sum(_minus(middle, first), _minus(middle, last)))


def last_step_largest(means: Means, *arms: str) -> Claim:
    """The last arm is above the one before it, by more than any earlier step."""
    *earlier, last = _steps(arms)
    gaps = [_sum(last, {arm: -weight for arm, weight in step.items()}) for step in earlier]
    words = f'the step {arms[-2]} to {arms[-1]} rises and is the largest'
    nearest = min(range(len(gaps)), key=lambda n: _value(gaps[n], means))
    if _value(last, means) <= 0:
        return Claim(f'{words}: the step', last, better=gaps)
    rival = f'{arms[nearest]} to {arms[nearest + 1]}'
    words = f'{words}: minus the next largest, {rival}'
    return Claim(words, gaps[nearest], better=[last, *gaps])


def first_step_largest(means: Means, *arms: str) -> Claim:
    """The step from the first arm to the second is larger than any later one."""
    first, *later = _steps(arms)
    gaps = [_sum(first, {arm: -weight for arm, weight in step.items()}) for step in later]
    nearest = min(range(len(gaps)), key=lambda n: _value(gaps[n], means))
    rival = f'{arms[nearest + 1]} to {arms[nearest + 2]}'
    words = f'largest step is {arms[0]} to {arms[1]}: minus the next largest, {rival}'
    return Claim(words, gaps[nearest], better=gaps)


def worst(means: Means, arm: str) -> Claim:
    """Every other arm is above this one."""
    others = [name for name in means if name != arm]
    if not others:
        raise UserError(f'gate worst: {arm!r} is the only arm')
    nearest = min(others, key=lambda name: means[name])
    words = f'{arm} is the worst arm: {nearest} minus {arm}'
    return Claim(words, _minus(nearest, arm), better=[_minus(other, arm) for other in others])


def above(means: Means, better: str, other: str) -> Claim:
    """The first arm is above the second."""
    return Claim(f'{better} above {other}', _minus(better, other))


def difference(means: Means, arm: str, other: str) -> Claim:
    """The first arm minus the second, reported whichever way it falls."""
    return Claim(f'{arm} minus {other}', _minus(arm, other))


RULES: dict[str, tuple[Callable[..., Claim], str, int]] = {
    'rises': (rises, 'gate', 3),
    'saturates': (saturates, 'gate', 3),
    'first_step_largest': (first_step_largest, 'gate', 3),
    'last_step_largest': (last_step_largest, 'gate', 3),
    'worst': (worst, 'gate', 1),
    'above': (above, 'gate', 2),
    'difference': (difference, 'report', 2),
}
"""Rule to its function, its kind, and the fewest arms it needs (`worst`: the one)."""


def check_gates(gates: Sequence[Sequence[str]], arms: Sequence[str], key: str = 'gates') -> None:
    """Raises UserError for a rule or an arm that is not known, or too few arms.

    Args:
      key: of config.ablation, where they are written.
    """
    where = f'config.ablation.{key}'
    for name, *names in gates:
        check_name(name, RULES, f'rule of {where}:')
        for arm in names:
            check_name(arm, arms, f'{where}: arm of {name!r}:')
        _, _, fewest = RULES[name]
        if len(names) < fewest or (fewest < 3 and len(names) > fewest):
            raise UserError(f'{where}: {name!r} needs {fewest} arms, it has {len(names)}')


def evaluate_gates(
    gates: Sequence[Sequence[str]], summary: Summary, what: str = ''
) -> list[dict[str, object]]:
    """The verdicts, in the order of the gates.

    Args:
      gates: (rule, arm, ..) each.
      summary: from `summarise`, of one task.
      what: is judged, in a word, where it is not the metric but something of its unit.

    Returns:
      Objects {gate, passed, value, interval, kind}: value and interval [low, high] in the
      metric's written unit (percentage points for accuracy); passed is None for a report, and
      for a gate that the seeds leave undecided. Where lower is better a gate counts differences
      the other way round, above 0 for the better arm, and says so; a report is the plain
      difference.

    Raises:
      UserError: several tasks.
    """
    if len(summary['tasks']) != 1:
        raise UserError('gates are evaluated on one task; the summary has several')
    turned = not summary['higher_is_better']
    what = what or number_formats.title_of(summary['metric'])
    about = f' (lower {what} is better: signs are turned)'
    arms = {arm['arm']: arm['seeds'] for arm in summary['tasks'][0]['arms']}
    if not any(score is not None for score in arms[summary['reference']].values()):
        # Nothing is compared to an arm that never finished; any other one serves.
        finished = (arm for arm, seeds in arms.items() if {*seeds.values()} - {None})
        summary = {**summary, 'reference': next(finished, summary['reference'])}
    reference = summary['reference']
    compared = compare_arms(arms, reference, **options_of(summary))
    sign = -1 if turned else 1
    means = {one.arm: sign * one.difference for one in compared} | {reference: 0.0}
    verdicts = []
    for name, *names in gates:
        rule, kind, _ = RULES[name]
        unknown = [arm for arm in (means if name == 'worst' else names) if math.isnan(means[arm])]
        if unknown:
            claim = f'{name}: {", ".join(names)} (no seed to compare {", ".join(unknown)} on)'
            verdicts.append(_verdict(claim, None, None, None, kind))
            continue
        claim = rule(means, *names)
        found = compared.contrast(claim.value)
        passed = None
        if kind == 'gate':
            needed = [compared.contrast(weights).verdict for weights in claim.better]
            barred = [compared.contrast(weights).verdict for weights in claim.not_worse]
            passed = _passed([found.verdict, *needed], barred)
        flip = sign if kind == 'gate' else 1
        value, interval = _written(found, flip * number_formats.scale_of(summary['metric']))
        words = claim.gate + (about if flip < 0 else '')
        verdicts.append(_verdict(words, passed, value, interval, kind))
    return verdicts


def _passed(needed: Sequence[str], barred: Sequence[str]) -> bool | None:
    """Whether a claim holds, given what must be better and what must not be worse."""
    if {'worse', 'equivalent'} & {*needed} or 'worse' in barred:
        return False
    return True if {*needed} == {'better'} else None


def _written(found: ArmComparison, scale: float) -> tuple[float, list[float] | None]:
    if not math.isfinite(found.low):
        return scale * found.difference, None
    return scale * found.difference, sorted((scale * found.low, scale * found.high))


def gate_rows(verdicts: Sequence[Summary]) -> list[list[str]]:
    """Rows of a table: gate, kind, value, interval, outcome.

    >>> gate_rows([_verdict('a above b', True, 0.00377, [0.00312, 0.00442], 'gate')])
    [['a above b', 'gate', '+0.00377', '[+0.00312, +0.00442]', 'passed']]
    """
    words = {True: 'passed', False: 'failed', None: 'reported'}
    rows = []
    for one in verdicts:
        kind, low_high = one.get('kind', 'gate'), one['interval'] or ()
        known = [number for number in (one['value'], *low_high) if number is not None]
        digits = _decimals(max((abs(n) for n in known if math.isfinite(n)), default=0.0))
        value = '–' if one['value'] is None else f'{one["value"]:+.{digits}f}'
        bounds = ', '.join(f'{end:+.{digits}f}' for end in low_high)
        undecided = one['passed'] is None and kind == 'gate'
        outcome = 'undecided' if undecided else words[one['passed']]
        rows.append([one['gate'], kind, value, f'[{bounds}]' if bounds else '–', outcome])
    return rows


def _decimals(largest: float) -> int:
    """Two, or as many as leave three digits of a number below 0.1, six at most."""
    return 2 if largest >= 0.1 or not largest else min(6, 2 - math.floor(math.log10(largest)))


def _verdict(gate: str, passed: bool | None, value: object, interval: object, kind: str):
    return {'gate': gate, 'passed': passed, 'value': value, 'interval': interval, 'kind': kind}


def _minus(arm: str, other: str) -> Weights:
    return {arm: 1.0, other: -1.0}


def _sum(*parts: Weights) -> Weights:
    arms = dict.fromkeys(arm for part in parts for arm in part)
    return {arm: sum(part.get(arm, 0.0) for part in parts) for arm in arms}


def _steps(arms: Sequence[str]) -> list[Weights]:
    return [_minus(after, before) for before, after in itertools.pairwise(arms)]


def _value(weights: Weights, means: Means) -> float:
    return sum(weight * means[arm] for arm, weight in weights.items())


def ordering(claim: str, errors: Mapping[str, np.ndarray], lower: str, other: str, reference: str):
    """A gate on errors of arms, one a seed: that one is lower, judged as a table of them is.

    Args:
      errors: arm to its errors (seeds,).
      reference: that the table compares with.
    """
    finite = {arm: np.where(np.isfinite(of), of, np.nan).tolist() for arm, of in errors.items()}
    compared = compare_to_reference(finite, reference, higher_is_better=False, margin=0.0)
    found = compared.contrast(_minus(lower, other))
    value, interval = _written(found, -1.0)
    return _verdict(claim, _passed([found.verdict], ()), value, interval, 'gate')


def gate(
    claim: str, values: np.ndarray, kind: str = 'gate', overlap: float = 0.0
) -> dict[str, object]:
    """A verdict on differences, one a seed: passed if their t interval lies above 0.

    `overlap` is that of folds; see `statistics.mean_interval`.
    """
    found = mean_interval(values, overlap=overlap)
    interval, passed = None, None
    if found.low is not None and found.high is not None:
        interval = [found.low, found.high]
        if kind == 'gate' and (found.low > 0 or found.high < 0):
            passed = found.low > 0
    return _verdict(claim, passed, found.estimate, interval, kind)
