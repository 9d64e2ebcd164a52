"""The verdicts of an ablation in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from ftjax.ablation.report import arm_cells
from ftjax.ablation.statistics.row_types import Summary
from ftjax.plotting import number_formats

LISTED = 6
"""Up to so many arms are named in a sentence."""


def verdict_sentences(task: Summary, summary: Summary) -> list[str]:
    """One sentence on the best arm, one an arm on how it compares with the reference.

    The best arm is the one with the highest mean, arms left out whose best rate lies on the
    edge of those tried; that it is best is not tested, and the sentence says by how much it
    leads the next.
    """
    metric, reference = summary['metric'], summary['reference']
    sign = 1 if summary['higher_is_better'] else -1
    ranked = sorted(
        (arm for arm in task['arms'] if arm['mean'] and not arm['rate_edge']),
        key=lambda arm: -sign * arm['mean']['estimate'],
    )
    sentences = []
    if len(ranked) > 1:
        first, second = ranked[0], ranked[1]
        lead = number_formats.score(
            abs(first['mean']['estimate'] - second['mean']['estimate']), metric
        )
        unit = ' points' if number_formats.scale_of(metric) == 100 else ''
        sentences.append(
            f'The best mean is that of {first["arm"]}{apart_from(task["arms"], first, sign)}, '
            f'{arm_cells.with_bounds(first["mean"], metric)}, '
            f'{lead}{unit} from the next, {second["arm"]}.'
        )
    for arm in task['arms']:
        if arm['arm'] != reference:
            sentences.append(_sentence(arm, summary))
    return sentences


def apart_from(arms: Sequence[Summary], best: Summary, sign: int) -> str:
    """The arms with a better mean that are not called the best, with the reason; '' for none.

    Args:
      sign: 1 where higher is better, else -1.
    """
    level = sign * best['mean']['estimate']
    beyond = [
        arm['arm']
        for arm in arms
        if arm.get('rate_edge') and arm['mean'] and sign * arm['mean']['estimate'] > level
    ]
    if not beyond:
        return ''
    names = ', '.join(beyond) if len(beyond) <= LISTED else f'{len(beyond)} arms'
    return f' (apart from {names}: best rate on the edge of those tried)'


def overall_sentences(summary: Summary) -> list[str]:
    """One sentence an arm on how it compares over all tasks; none for a single task."""
    if not summary['overall']:
        return []
    sentences = []
    for arm in summary['overall']['arms']:
        if arm['difference'] is not None:
            sentences.append(
                f'{arm["arm"]}: {compared(arm["difference"], summary)} on average over the '
                f'{arm["n_tasks"]} tasks.'
            )
    return sentences


def compared(difference: Summary, summary: Summary) -> str:
    """How an arm compares with the reference: 'better than full (+1.0 points [..], 3 seeds, ..)'.

    Args:
      difference: of an arm, see `ftjax.ablation.summary.arm`.
    """
    metric, reference = summary['metric'], summary['reference']
    interval, margin = difference['interval'], number_formats.score(summary['margin'], metric)
    unit = ' points' if number_formats.scale_of(metric) == 100 else ''
    known = difference['standard_error'] is not None
    words = {
        'better': f'better than {reference}',
        'worse': f'worse than {reference}',
        'equivalent': f'equivalent to {reference} within ±{margin}{unit}',
        'undecided': f'no significant difference from {reference}',
    }[difference['verdict']]
    size = number_formats.score(interval['estimate'], metric, signed=True)
    bounds = number_formats.bounds(interval, metric, signed=True)
    facts = [f'{size}{unit}' + (f' {bounds}' if known else '')]
    facts.append(f'{interval["n"]} paired seed{"" if interval["n"] == 1 else "s"}')
    if known:
        facts.append(f'P(better) {arm_cells.chance(difference)}')
    else:
        words = f'no verdict against {reference}'
    more = difference['further_seeds']
    if more is not None:
        facts.append(f'{arm_cells.seeds(more)} would decide')
    return f'{words} ({", ".join(facts)})'


def _sentence(arm: Summary, summary: Summary) -> str:
    reference, difference = summary['reference'], arm['difference']
    if arm['mean'] is None:
        return f'{arm["arm"]}: none of its {arm["n"]} runs finished.'
    if difference is None:
        return f'{arm["arm"]}: no seed that {reference} finished too; nothing to compare.'
    return f'{arm["arm"]}: {compared(difference, summary)}.'
