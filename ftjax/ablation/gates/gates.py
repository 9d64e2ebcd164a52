"""Gates of a reproduction: orderings among arms that must come out, each with its verdict.

A gate is written in a config as its rule and the arms that the rule is about:

    'gates': (('rises', 'head', 'last:1', 'full'), ('worst', 'head'))

"Above" means better: of an error the lower. Values are differences of the metric, paired over
seeds, with the t interval of their mean. A gate passes by the mean alone, as published orderings
do; the interval says how sure that is.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.ablation.statistics.paired import mean_interval
from ftjax.errors import UserError, check_name
from ftjax.plotting import number_formats

HOW_GATES_PASS = (
    'Gates pass by the mean over seeds alone, as published orderings do; these seeds do not '
    'settle one whose interval holds 0. Values are paired differences.'
)
Scores = Mapping[str, np.ndarray]
"""Arm to its scores, one a seed, the same seeds for all; higher is better in those of a gate."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a rule makes of the scores.

    Attributes:
      gate: the claim, a sentence with the arms' names.
      values: the difference that decides, one a seed; the claim holds if their mean is above 0.
      holds: what must hold besides.
    """

    gate: str
    values: np.ndarray
    holds: bool = True


def rises(scores: Scores, *arms: str) -> Measured:
    """The last arm is above the first, and no arm falls below the one before it.

    A fall counts only if its interval leaves 0 out: neighbours may tie where a curve is flat.
    """
    steps = [mean_interval(step) for step in _steps(scores, arms)]
    falls = [step for step in steps if step.estimate < 0 and (step.high is None or step.high < 0)]
    claim = f'rises over {", ".join(arms)}: {arms[-1]} minus {arms[0]}, and no step falls'
    return Measured(claim, scores[arms[-1]] - scores[arms[0]], not falls)


def saturates(scores: Scores, *arms: str) -> Measured:
    """The first half of the arms' steps gains more than the second half."""
    middle = arms[len(arms) // 2]
    gained = scores[middle] - scores[arms[0]]
    left = scores[arms[-1]] - scores[middle]
    claim = f'saturates: gain {arms[0]} to {middle} minus gain {middle} to {arms[-1]}'
    return Measured(claim, gained - left)


def first_step_largest(scores: Scores, *arms: str) -> Measured:
    """The step from the first arm to the second is larger than any later one."""
    first, *later = _steps(scores, arms)
    largest = max(range(len(later)), key=lambda n: later[n].mean())
    rival = f'{arms[largest + 1]} to {arms[largest + 2]}'
    claim = f'largest step is {arms[0]} to {arms[1]}: minus the next largest, {rival}'
    return Measured(claim, first - later[largest])


def worst(scores: Scores, arm: str) -> Measured:
    """Every other arm is above this one."""
    others = [name for name in scores if name != arm]
    if not others:
        raise UserError(f'gate worst: {arm!r} is the only arm')
    nearest = min(others, key=lambda name: scores[name].mean())
    return Measured(f'{arm} is the worst arm: {nearest} minus {arm}', scores[nearest] - scores[arm])


def above(scores: Scores, better: str, other: str) -> Measured:
    """The first arm is above the second."""
    return Measured(f'{better} above {other}', scores[better] - scores[other])


def difference(scores: Scores, arm: str, other: str) -> Measured:
    """The first arm minus the second, reported whichever way it falls."""
    return Measured(f'{arm} minus {other}', scores[arm] - scores[other])


RULES: dict[str, tuple[Callable[..., Measured], str, int]] = {
    'rises': (rises, 'gate', 3),
    'saturates': (saturates, 'gate', 3),
    'first_step_largest': (first_step_largest, 'gate', 3),
    'worst': (worst, 'gate', 1),
    'above': (above, 'gate', 2),
    'difference': (difference, 'report', 2),
}
"""Rule to its function, its kind, and the fewest arms it needs (`worst`: the one)."""


def check_gates(gates: Sequence[Sequence[str]], arms: Sequence[str]) -> None:
    """Raises UserError for a rule or an arm that is not known, or too few arms."""
    for name, *names in gates:
        check_name(name, RULES, 'rule of config.ablation.gates:')
        for arm in names:
            check_name(arm, arms, f'arm of the gate {name!r}:')
        _, _, fewest = RULES[name]
        if len(names) < fewest or (fewest < 3 and len(names) > fewest):
            raise UserError(f'gate {name!r} needs {fewest} arms, it has {len(names)}')


def evaluate_gates(
    gates: Sequence[Sequence[str]], summary: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The verdicts, in the order of the gates.

    Args:
      gates: (rule, arm, ..) each.
      summary: from `summarise`, of one task.

    Returns:
      Objects {gate, passed, value, interval, kind}: value and interval [low, high] in the
      metric's written unit (percentage points for accuracy); passed is None for a report, and
      for a gate without a seed that all of its arms finished. Where lower is better a gate
      counts differences the other way round, above 0 for the better arm, and says so; a report
      is the plain difference.

    Raises:
      UserError: several tasks.
    """
    if len(summary['tasks']) != 1:
        raise UserError('gates are evaluated on one task; the summary has several')
    turned = not summary['higher_is_better']
    about = f' (lower {number_formats.title_of(summary["metric"])} is better: signs are turned)'
    scale = number_formats.scale_of(summary['metric'])
    arms = {arm['arm']: arm['seeds'] for arm in summary['tasks'][0]['arms']}
    verdicts = []
    for name, *names in gates:
        rule, kind, _ = RULES[name]
        sign = -1 if turned and kind == 'gate' else 1
        scores = _paired(arms if name == 'worst' else {arm: arms[arm] for arm in names}, sign)
        if scores is None:
            claim = f'{name}: {", ".join(names)} (no seed that all of them finished)'
            verdicts.append(_verdict(claim, None, None, None, kind))
            continue
        measured = rule(scores, *names)
        found = mean_interval(scale * measured.values)
        passed = None if kind == 'report' else bool(found.estimate > 0 and measured.holds)
        interval = None if found.low is None else [found.low, found.high]
        claim = measured.gate + (about if sign < 0 else '')
        verdicts.append(_verdict(claim, passed, found.estimate, interval, kind))
    return verdicts


def gate_rows(verdicts: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Rows of a table: gate, kind, value, interval, outcome."""
    words = {True: 'passed', False: 'failed', None: 'reported'}
    rows = []
    for one in verdicts:
        value = '–' if one['value'] is None else f'{one["value"]:+.2f}'
        low_high = one['interval']
        bounds = '–' if low_high is None else f'[{low_high[0]:+.2f}, {low_high[1]:+.2f}]'
        undecided = one['passed'] is None and one['kind'] == 'gate'
        outcome = 'undecided' if undecided else words[one['passed']]
        rows.append([one['gate'], one['kind'], value, bounds, outcome])
    return rows


def _verdict(gate: str, passed: bool | None, value: Any, interval: Any, kind: str):
    return {'gate': gate, 'passed': passed, 'value': value, 'interval': interval, 'kind': kind}


def _paired(arms: Mapping[str, Mapping[Any, float | None]], sign: int) -> Scores | None:
    """Scores on the seeds that all arms finished; None where there is none."""
    finished = [{seed for seed, v in seeds.items() if v is not None} for seeds in arms.values()]
    common = sorted(set.intersection(*finished), key=int)
    if not common:
        return None
    return {arm: sign * np.array([seeds[s] for s in common]) for arm, seeds in arms.items()}


def _steps(scores: Scores, arms: Sequence[str]) -> list[np.ndarray]:
    return [scores[b] - scores[a] for a, b in itertools.pairwise(arms)]


def gate(claim: str, values: np.ndarray, kind: str = 'gate') -> dict[str, Any]:
    """A verdict on paired differences: a gate passes if their mean is above 0."""
    from ftjax.ablation.statistics.paired import mean_interval

    found = mean_interval(values)
    interval = None if found.low is None else [found.low, found.high]
    passed = None if kind == 'report' else bool(found.estimate > 0)
    return {
        'gate': claim,
        'passed': passed,
        'value': found.estimate,
        'interval': interval,
        'kind': kind,
    }
