"""What to freeze, from the summary of a race: a recommendation, what it costs and gives up.

Everything is read from the summary's own verdicts and simultaneous intervals, so that advice and
report cannot contradict each other.

1. An arm counts if it has a rate inside its grid and a verdict against the reference (all of the
   network trained), or is the reference. A grid of one rate has no inside: where the budget allows
   no more, the arm counts at that rate.
2. If any is better than the reference, the one of them with the highest estimate is recommended.
3. Else the cheapest arm that is as good as the reference: the whole interval of its difference
   lies above a loss of the margin (non-inferior). The reference itself is one.

The estimate of an arm that was chosen because it was the highest is too high on average; the
interval is simultaneous over the arms, so that its lower end may be believed all the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from ftjax.ablation.racing.allocation import LEAST_SEEDS
from ftjax.ablation.statistics.row_types import Summary
from ftjax.ablation.summary.good_enough import COSTS, cost_against, is_as_good, price
from ftjax.errors import UserError
from ftjax.plotting import number_formats

TOO_FEW = 'too few seeds for a verdict'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Undecided:
    """An arm without a verdict, and what a verdict would take.

    Attributes:
      arm: its name.
      seeds: further seeds that would decide it; None where that cannot be told.
      seconds: of their runs, and of the reference's on the same seeds, one after the other.
    """

    arm: str
    seeds: int | None
    seconds: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Advice:
    """What a race says.

    Attributes:
      choice: the recommended arm; None where no run of the reference finished.
      rate: its learning rate.
      why: 'better' than the reference, 'as good' and cheaper, 'nothing cheaper' is, or 'no verdict'
        was possible.
      as_good: the cheapest arm that is as good as the reference.
      sentences: the recommendation in two sentences.
      undecided: arms that the race could not decide.
      left_out: {arm: why it cannot be recommended}.
    """

    choice: str | None
    rate: float | None
    why: str
    as_good: str | None
    sentences: tuple[str, ...]
    undecided: tuple[Undecided, ...]
    left_out: Mapping[str, str]


def recommend(summary: Summary) -> Advice:
    """The advice that a summary of one task gives.

    Args:
      summary: from `summarise`; a loss up to its margin is accepted for a cheaper arm.

    Raises:
      UserError: several tasks.
    """
    if len(summary['tasks']) != 1:
        raise UserError('advice is given on one task; the summary has several')
    margin: float = summary['margin']
    arms: Sequence[Summary] = summary['tasks'][0]['arms']
    reference = next(arm for arm in arms if arm['arm'] == summary['reference'])
    trained = [arm for arm in arms if arm['rate'] is not None and arm is not reference]
    unfinished = [arm for arm in arms if arm['mean'] is None and arm is not reference]
    # Arms without a rate: baselines, and arms of which no run finished at any rate.
    looked_at = (*trained, *unfinished)
    left_out = {arm['arm']: why for arm in looked_at if (why := _why_not(arm))}
    able = [arm for arm in trained if arm['arm'] not in left_out]
    open_arms = [arm for arm in able if arm['difference']['verdict'] == 'undecided']
    undecided = tuple(_undecided(arm, reference) for arm in open_arms)
    if reference['mean'] is None:
        said = f'No run of {reference["arm"]} finished, so that there is nothing to compare with.'
        return Advice(
            choice=None,
            rate=None,
            why='',
            as_good=None,
            sentences=(said,),
            undecided=(),
            left_out=left_out,
        )
    better = [arm for arm in able if arm['difference']['verdict'] == 'better']
    good = [arm for arm in able if is_as_good(arm, margin, summary['higher_is_better'])]
    cheapest = min([*good, reference], key=price)
    if better:
        choice, why = max(better, key=lambda arm: _gain(arm, summary)), 'better'
    else:
        choice = cheapest
        why = 'nothing cheaper' if choice is reference else 'as good'
    if not able and TOO_FEW in left_out.values():
        why, said = 'no verdict', _too_small(arms, reference, summary)
    else:
        said = _sentences(choice, why, cheapest, reference, open_arms, summary)
        said += _baseline_ahead(arms, choice, reference, summary)
    return Advice(
        choice=choice['arm'],
        rate=choice['rate'],
        why=why,
        as_good=cheapest['arm'],
        sentences=said,
        undecided=undecided,
        left_out=left_out,
    )


def _why_not(arm: Summary) -> str:
    if arm['mean'] is None:
        return 'none of its runs finished'
    if arm['rate_edge']:
        return f'its best rate is the {arm["rate_edge"]}est that was tried: a better one may exist'
    if arm['difference'] is None or arm['difference']['interval']['low'] is None:
        return TOO_FEW
    return ''


def _too_small(arms: Sequence[Summary], reference: Summary, summary: Summary) -> tuple[str, str]:
    """What is said where no arm has seeds enough: that, and what enough would take."""
    fewest = min(arm['n_ok'] for arm in arms)
    known = [max(0, LEAST_SEEDS - arm['n_ok']) * (arm['wall_seconds'] or 0.0) for arm in arms]
    score = number_formats.score(reference['mean']['estimate'], summary['metric'])
    return (
        f'Nothing is decided: the budget gave the arm with fewest {fewest} finished '
        f'run{"" if fewest == 1 else "s"}, and a verdict needs several seeds.',
        f'Until then train {reference["arm"]}: {score} {number_formats.headed(summary)}; '
        f'{LEAST_SEEDS} seeds of every arm would take about {number_formats.seconds(sum(known))} '
        'more.',
    )


def _gain(arm: Summary, summary: Summary) -> float:
    return arm['difference']['interval']['estimate'] * (1 if summary['higher_is_better'] else -1)


def _undecided(arm: Summary, reference: Summary) -> Undecided:
    seeds = arm['difference'].get('further_seeds')
    times = [one['wall_seconds'] for one in (arm, reference)]
    known = seeds is not None and None not in times
    return Undecided(arm=arm['arm'], seeds=seeds, seconds=seeds * sum(times) if known else None)


def _baseline_ahead(
    arms: Sequence[Summary], choice: Summary, reference: Summary, summary: Summary
) -> tuple[str, ...]:
    """That a baseline, which no advice is to train, has a better mean than the choice."""
    known = [arm for arm in arms if arm['rate'] is None and arm['mean'] and arm['difference']]
    best = max(known, key=lambda arm: _gain(arm, summary), default=None)
    chosen = 0.0 if choice is reference else _gain(choice, summary)
    if best is None or _gain(best, summary) <= chosen:
        return ()
    score, own = (
        number_formats.score(arm['mean']['estimate'], summary['metric']) for arm in (best, choice)
    )
    if score == own:  # what is printed alike is not ahead
        return ()
    decided = best['difference']['verdict'] != 'undecided'
    known_as = '' if decided else ', though that is not decided'
    return (
        f'The baseline {best["arm"]} has a better mean than {choice["arm"]}: {score}{known_as}; '
        'what is trained may need more steps, or other rates.',
    )


def _sentences(
    choice: Summary,
    why: str,
    cheapest: Summary,
    reference: Summary,
    open_arms: Sequence[Summary],
    summary: Summary,
) -> tuple[str, ...]:
    metric, margin, name = summary['metric'], summary['margin'], reference['arm']
    unit = ' points' if number_formats.scale_of(metric) == 100 else ''
    allowed = f'{number_formats.score(margin, metric)}{unit}'

    def difference(arm: Summary) -> str:
        interval = arm['difference']['interval']
        size = number_formats.score(interval['estimate'], metric, signed=True)
        return f'{size}{unit} {number_formats.bounds(interval, metric, signed=True)}'

    def more(arm: Summary) -> str:
        found = _undecided(arm, reference)
        if found.seeds is None:
            return ''
        time = '' if found.seconds is None else f', about {number_formats.seconds(found.seconds)},'
        return f'; {found.seeds} further seed{"s" if found.seeds > 1 else ""}{time} would decide it'

    title = number_formats.headed(summary)
    score = f'{number_formats.score(choice["mean"]["estimate"], metric)} {title}'
    if why == 'nothing cheaper':
        first = f'Train {name}: {score}; no cheaper arm was shown to be as good within {allowed}.'
        ahead = max(open_arms, key=lambda arm: _gain(arm, summary), default=None)
        if ahead is None or _gain(ahead, summary) <= 0:
            return first, 'No other way of training whose verdict is open is ahead of it.'
        return first, f'Not decided: {ahead["arm"]} is ahead by {difference(ahead)}{more(ahead)}.'
    trained = number_formats.share(choice['trainable_share'])
    first = (
        f'Train {choice["arm"]} ({trained} of the parameters): {score}, '
        f'{difference(choice)} against {name}, '
        + ('which is better.' if why == 'better' else f'so at most {allowed} worse.')
    )
    costs = _costs(choice, reference)
    second = f'It takes {costs} of {name}.' if costs else f'Its cost against {name} is not known.'
    if why == 'better' and cheapest is not choice and price(cheapest) < price(choice):
        cheaper = f'Cheaper and as good as {name} within {allowed}: {cheapest["arm"]}'
        known = '' if cheapest is reference else f' ({difference(cheapest)})'
        second = f'{second[:-1]}; {cheaper[0].lower()}{cheaper[1:]}{known}.'
    return first, second


def _costs(arm: Summary, reference: Summary) -> str:
    parts = [
        f'{share:.2g} of the {words}'
        for key, words in COSTS
        if (share := cost_against(arm, reference, key)) is not None
    ]
    return ', '.join(parts)
