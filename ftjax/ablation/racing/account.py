"""What is told of a race: numbers for summary.json and sentences for readers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.ablation.racing.looks import final, numbers_of
from ftjax.ablation.racing.narrowing import HELD
from ftjax.ablation.racing.race import Race
from ftjax.ablation.racing.race_state import RaceState
from ftjax.ablation.racing.spending import EARLY, MOST_EARLY
from ftjax.ablation.statistics.comparison import ArmComparison, Comparison
from ftjax.ablation.statistics.row_types import Summary
from ftjax.io.files.atomic import to_jsonable
from ftjax.io.json.json_values import JsonObject
from ftjax.io.process.progress import duration


def described(race: Race, state: RaceState) -> JsonObject:
    """All looks, rounds and verdicts of a race, ready for JSON.

    Keys: budget (as given), unit, amount, spent, seeds (that any arm came to), ended (why),
    reference, higher_is_better, margin, alpha, spending (in words), rounds ({what, runs,
    forecast, cost}), looks (see Look.described), verdicts (arm to the numbers of the look that
    decided it, or of the last, and its number), short_runs (null without any).
    """
    budget, ledger = race.budget, state.ledger
    return to_jsonable(
        {
            'budget': budget.text,
            'unit': budget.kind,
            'amount': budget.amount,
            'spent': ledger.spent,
            'seeds': len({row['seed'] for row in ledger.used.values()}),
            'ended': state.ended,
            'reference': race.reference,
            'higher_is_better': race.metric.higher_is_better,
            'margin': race.margin,
            'alpha': race.alpha,
            'spending': f'{EARLY:g} alpha an early look, {MOST_EARLY:g} alpha at most',
            'rounds': [
                {
                    'what': one.what,
                    'runs': len(one.cells),
                    'forecast': one.forecast,
                    'cost': cost,
                }
                for one, cost in ledger.rounds
            ],
            'looks': [look.described() for look in state.looks],
            'verdicts': {
                arm: {**numbers_of(one), 'look': number}
                for arm, (number, one) in final(state.looks).items()
            },
            'short_runs': None if state.narrowed is None else dataclasses.asdict(state.narrowed),
        }
    )


def comparison_told(told: JsonObject, arm: str) -> tuple[ArmComparison, Comparison]:
    """The comparison of an arm at the look that decided it, or at the last, and all of that look.

    Args:
      told: from `described`, or read back from JSON, where infinite numbers are null.
      arm: of its verdicts.
    """
    numbers = dict(told['verdicts'][arm])
    look = told['looks'][numbers.pop('look') - 1]
    infinite = {'low': -math.inf, 'high': math.inf, 'standard_error': math.inf}
    infinite['difference'] = math.nan
    known: dict[str, Any] = {k: infinite.get(k) if v is None else v for k, v in numbers.items()}
    one = ArmComparison(arm=arm, **known)
    return one, Comparison(
        reference=told['reference'],
        higher_is_better=told['higher_is_better'],
        margin=told['margin'],
        alpha=look['alpha'],
        arms=(one,),
    )


def sentences(told: JsonObject) -> list[str]:
    """A race in sentences.

    Args:
      told: from `described`.
    """
    looks = ', '.join(
        f'{look["seeds"]} seeds (alpha {look["alpha"]:.4f})' for look in told['looks']
    )
    found = [
        f'The arms raced within {told["budget"]}: {spent(told, told["spent"])} were spent; the '
        f'race ended because {told["ended"]}.'
    ]
    if looks:
        found.append(
            f'Looks at {looks}: all together miss with a probability of {told["alpha"]:g} at most. '
            'An arm stopped when its verdict was decided, and its interval is that of its look.'
        )
    short = told['short_runs']
    if short is not None:
        known = [value for value in short['correlations'].values() if value is not None]
        mean = f'{sum(known) / len(known):.2f}' if known else 'unknown'
        done = (
            'the others were run in full at their best two rates only'
            if short['held']
            else 'so all arms were run in full at all rates'
        )
        found.append(
            f'Rates were tried by runs of {100 * short["share"]:g} % of the steps first. On '
            f'{", ".join(short["pilots"])} their rank correlation with full runs was {mean} '
            f'(believed from {HELD:g} on): {done}.'
        )
    return found


def seeds_run(races: Mapping[str, Summary], seeds: Sequence[int]) -> Sequence[int]:
    """Those of the seeds that any race has come to; all of them where there was no race."""
    most = max((told['seeds'] for told in races.values()), default=len(seeds))
    return seeds[:most]


def spent(told: Mapping[str, object], amount: float) -> str:
    """An amount of a budget in words.

    >>> spent({'unit': 'runs'}, 12.25), spent({'unit': 'seconds'}, 75.0)
    ('12.2 runs', '1 min 15 s')
    """
    if told['unit'] == 'seconds':
        return duration(amount)
    return f'{amount:.3g} FLOPs' if told['unit'] == 'flops' else f'{amount:.3g} runs'
