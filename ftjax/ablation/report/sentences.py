"""The verdicts of an ablation in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftjax.plotting import number_formats


def verdict_sentences(task: Mapping[str, Any], summary: Mapping[str, Any]) -> list[str]:
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
            f'The best mean is that of {first["arm"]}, '
            f'{number_formats.score(first["mean"]["estimate"], metric)} '
            f'{number_formats.bounds(first["mean"], metric, clip=True)}, '
            f'{lead}{unit} from the next, {second["arm"]}.'
        )
    for arm in task['arms']:
        if arm['arm'] != reference:
            sentences.append(_sentence(arm, summary))
    return sentences


def overall_sentences(summary: Mapping[str, Any]) -> list[str]:
    """One sentence an arm on how it compares over all tasks; none for a single task."""
    if not summary['overall']:
        return []
    metric, reference = summary['metric'], summary['reference']
    unit = ' points' if number_formats.scale_of(metric) == 100 else ''
    sentences = []
    for arm in summary['overall']['arms']:
        difference, chance = arm['difference'], arm['probability_of_improvement']
        if difference is None or chance is None:
            continue
        size = number_formats.score(difference['estimate'], metric, signed=True)
        bounds = number_formats.bounds(difference, metric, signed=True)
        sentences.append(
            f'{arm["arm"]} against {reference}: {size}{unit} {bounds} on average over '
            f'{arm["n_tasks"]} tasks; a run of it is better with probability '
            f'{chance["estimate"]:.2f}.'
        )
    return sentences


def _sentence(arm: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    metric, reference = summary['metric'], summary['reference']
    difference = arm['difference']
    if arm['mean'] is None:
        return f'{arm["arm"]}: none of its {arm["n"]} runs finished.'
    if difference is None:
        return f'{arm["arm"]}: no seed that {reference} finished too; nothing to compare.'
    interval = difference['interval']
    size = number_formats.score(interval['estimate'], metric, signed=True)
    bounds = number_formats.bounds(interval, metric, signed=True)
    unit = ' points' if number_formats.scale_of(metric) == 100 else ''
    n = len(difference['seeds'])
    pairs = f'{n} paired seed{"s" if n != 1 else ""}'
    words = {
        'better': f'better than {reference}',
        'worse': f'worse than {reference}',
        'not told apart': f'not told apart from {reference}',
        'no verdict': f'no verdict against {reference}',
    }[difference['verdict']]
    tested = '' if difference['p_holm'] is None else f', p {_p(difference["p_holm"])}'
    spread = '' if bounds == '–' else f' {bounds}'
    return f'{arm["arm"]}: {words} ({size}{unit}{spread}, {pairs}{tested}).'


def _p(value: float) -> str:
    text = number_formats.p_value(value)
    return text.replace('<', '< ') if text.startswith('<') else f'= {text}'
