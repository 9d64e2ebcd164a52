"""Gates of a reproduction: orderings among arms that must come out, each with its verdict.

A gate is written in a config as its rule and the arms that the rule is about:

    'gates': (('rises', 'head', 'last:1', 'full'), ('worst', 'head'))

"Above" means better: of an error the lower. A gate is judged as the table is: by the same
comparison of all arms, with the same critical value, so that the two cannot disagree
(ftjax/ablation/statistics/comparison.py). It passes if the interval of its value lies above 0.
What each rule claims: claims.py beside this.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ftjax.ablation.gates.claims import RULES, minus
from ftjax.ablation.gates.gate_table import verdict
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

FAILS = ('worse', 'equivalent')
"""Verdicts of a difference that had to be better."""
TURNED = ' (signs turned)'


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
        if len(set(names)) < len(names):
            raise UserError(f'{where}: {name!r} names an arm twice: {", ".join(names)}')
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
      for a gate that the seeds leave undecided. Where another difference than the one shown keeps
      a gate from passing, {decided_by: {of, value, interval}} names it. Where lower is better a
      gate counts differences the other way round, above 0 for the better arm, and says so; a
      report is the plain difference.

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
            verdicts.append(verdict(claim, None, None, None, kind))
            continue
        claim = rule(means, *names)
        found = compared.contrast(claim.value)
        flip = sign if kind == 'gate' else 1
        scale = flip * number_formats.scale_of(summary['metric'])
        words = claim.gate + (about if flip < 0 else '')
        passed, decides = None, None
        if kind == 'gate':
            needed = {of: compared.contrast(one) for of, one in claim.better.items()}
            barred = {of: compared.contrast(one) for of, one in claim.not_worse.items()}
            passed = _passed(_verdicts([found, *needed.values()]), _verdicts(barred.values()))
            decides = _deciding(found, needed, barred, passed, sign)
        one = verdict(words, passed, *_written(found, scale), kind)
        if decides is not None:
            value, interval = _written(decides[1], scale)
            of = decides[0] + (TURNED if flip < 0 else '')
            one['decided_by'] = {'of': of, 'value': value, 'interval': interval}
        verdicts.append(one)
    return verdicts


def _deciding(
    shown: ArmComparison,
    needed: Mapping[str, ArmComparison],
    barred: Mapping[str, ArmComparison],
    passed: bool | None,
    sign: int,
) -> tuple[str, ArmComparison] | None:
    """What keeps a claim from passing, the worst of it; None where it is what is shown."""
    if passed or _passed([shown.verdict], ()) is passed:
        return None
    if passed is None:
        left = [one for one in needed.items() if one[1].verdict != 'better']
    else:
        left = [one for one in needed.items() if one[1].verdict in FAILS]
        left += [one for one in barred.items() if one[1].verdict == 'worse']
    return min(left, key=lambda one: sign * one[1].difference)


def _verdicts(found: Iterable[ArmComparison]) -> list[str]:
    return [one.verdict for one in found]


def _passed(needed: Sequence[str], barred: Sequence[str]) -> bool | None:
    """Whether a claim holds, given what must be better and what must not be worse."""
    if {*FAILS} & {*needed} or 'worse' in barred:
        return False
    return True if {*needed} == {'better'} else None


def _written(found: ArmComparison, scale: float) -> tuple[float, list[float] | None]:
    if not math.isfinite(found.low):
        return scale * found.difference, None
    return scale * found.difference, sorted((scale * found.low, scale * found.high))


def ordering(claim: str, errors: Mapping[str, np.ndarray], lower: str, other: str, reference: str):
    """A gate on errors of arms, one a seed: that one is lower, judged as a table of them is.

    Args:
      errors: arm to its errors (seeds,).
      reference: that the table compares with.
    """
    finite = {arm: np.where(np.isfinite(of), of, np.nan).tolist() for arm, of in errors.items()}
    compared = compare_to_reference(finite, reference, higher_is_better=False, margin=0.0)
    found = compared.contrast(minus(lower, other))
    value, interval = _written(found, -1.0)
    return verdict(claim, _passed([found.verdict], ()), value, interval, 'gate')


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
    return verdict(claim, passed, found.estimate, interval, kind)
