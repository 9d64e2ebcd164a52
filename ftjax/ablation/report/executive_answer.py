"""The answer of an ablation in a few sentences, for the top of its report and table."""

from __future__ import annotations

from collections.abc import Sequence

from ftjax.ablation.report.sentences import LISTED, apart_from
from ftjax.ablation.statistics.row_types import Summary
from ftjax.ablation.summary.good_enough import COSTS, cost_against, is_as_good, price
from ftjax.plotting import number_formats


def answer(summary: Summary) -> list[str]:
    """Which arms are better and worse than the reference, the best mean, the cheapest as good.

    Of several tasks, over all of them together; on the first one, and that is said, where no arm
    finished runs of all.
    """
    tasks, overall = summary['tasks'], summary['overall']
    arms = overall['arms'] if overall and overall['arms'] else tasks[0]['arms']
    reference = next((arm for arm in arms if arm['arm'] == summary['reference']), None)
    compared = [arm for arm in arms if arm is not reference and arm.get('difference')]
    if reference is None or reference['mean'] is None or not compared:
        return [f'No arm could be compared with {summary["reference"]}.']
    return [
        _counted(compared, summary),
        *_highest(arms, reference, summary),
        *([] if overall else _cheapest(compared, reference, summary)),
    ]


def _counted(compared: Sequence[Summary], summary: Summary) -> str:
    by = {word: [a['arm'] for a in compared if _verdict(a) == word] for word in _WORDS}
    margin = number_formats.score(summary['margin'], summary['metric'])
    parts = [
        f'{len(names)} {words.format(margin=f"{margin}{_unit(summary)}")}{_listed(names)}'
        for word, words in _WORDS.items()
        if (names := by[word])
    ]
    count = len(summary['tasks'])
    over = _where(summary)
    if count > 1 and not over:
        over = f' on average over the {count} tasks'
    of = f'Of {len(compared)} arm{"" if len(compared) == 1 else "s"}'
    return f'{of} compared with {summary["reference"]}{over}: {"; ".join(parts)}.'


def _where(summary: Summary) -> str:
    """The task that is spoken of, where there are several and no arm finished runs of all."""
    tasks, overall = summary['tasks'], summary['overall']
    together = bool(overall and overall['arms'])
    return '' if together or len(tasks) < 2 else f' on {tasks[0]["task"]}'


_WORDS = {
    'better': 'better',
    'worse': 'worse',
    'equivalent': 'equivalent within ±{margin}',
    'undecided': 'without significant difference',
    'none': 'without a verdict',
}


def _verdict(arm: Summary) -> str:
    difference = arm['difference']
    return 'none' if difference['standard_error'] is None else difference['verdict']


def _listed(names: Sequence[str]) -> str:
    if len(names) > LISTED:
        return ''
    return f' ({", ".join(names)})'


def _highest(arms: Sequence[Summary], reference: Summary, summary: Summary) -> list[str]:
    sign, metric = (1 if summary['higher_is_better'] else -1), summary['metric']
    able = [arm for arm in arms if arm['mean'] and not arm.get('rate_edge')]
    if not able:
        return []
    best = max(able, key=lambda arm: sign * arm['mean']['estimate'])
    word = 'highest' if sign > 0 else 'lowest'
    score = number_formats.score(best['mean']['estimate'], metric)
    if best['mean']['low'] is not None:
        score += f' {number_formats.bounds(best["mean"], metric, clip=True)}'
    title = number_formats.headed(summary).split(',')[0] + _where(summary)
    aside = apart_from(arms, best, sign)
    found = f'The {word} mean is that of {best["arm"]}{aside}: {score}, {title}'
    if best is reference:
        return [f'{found}; it is the reference.']
    if best.get('difference') is None:
        return [f'{found}.']
    size = number_formats.score(best['difference']['interval']['estimate'], metric, signed=True)
    against = f'{size}{_unit(summary)} against {reference["arm"]}'
    more = best['difference']['further_seeds']
    if _verdict(best) != 'undecided' or more is None:
        return [f'{found}, {against}.']
    seeds = f'{more} more seed{"" if more == 1 else "s"}'
    return [f'{found}, {against}, which {seeds} would decide.']


def _cheapest(compared: Sequence[Summary], reference: Summary, summary: Summary) -> list[str]:
    """The cheapest arm that is not worse by the margin; none where times are not known."""
    margin, higher = summary['margin'], summary['higher_is_better']
    joint = summary.get('vectorised', ())
    if not reference.get('step_seconds') or not margin or reference['arm'] in joint:
        return []
    allowed = f'{number_formats.score(margin, summary["metric"])}{_unit(summary)}'
    able = [
        arm
        for arm in compared
        if arm.get('rate') is not None
        and not arm.get('rate_edge')
        and is_as_good(arm, margin, higher)
    ]
    # The time of a step in a program of several runs is a share: no price to compare.
    shared = [arm['arm'] for arm in able if arm['arm'] in joint]
    good = [a for a in able if a['arm'] not in joint and price(a) < price(reference)]
    if not good and all(_verdict(arm) == 'none' for arm in compared):
        return []
    if not good and shared:
        return [
            f'At most {allowed} worse than {reference["arm"]}: {", ".join(shared)}. What a run '
            'alone would take was not measured: several runs shared a program.'
        ]
    if not good:
        return [f'No cheaper arm is shown to be at most {allowed} worse than {reference["arm"]}.']
    cheapest = min(good, key=price)
    shares = [
        f'{share:.2g} of the {words}'
        for key, words in COSTS
        if (share := cost_against(cheapest, reference, key)) is not None
    ]
    of = ' of those that ran alone and are' if shared else ' that is'
    return [
        f'The cheapest arm{of} at most {allowed} worse is {cheapest["arm"]}; it takes '
        f'{", ".join(shares)}.'
    ]


def _unit(summary: Summary) -> str:
    return ' points' if number_formats.scale_of(summary['metric']) == 100 else ''
