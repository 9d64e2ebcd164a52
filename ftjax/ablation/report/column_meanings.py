"""What each column of an ablation's tables means, a line each."""

from __future__ import annotations

from ftjax.ablation.statistics.bootstrap import FEWEST
from ftjax.ablation.statistics.error_rates import rate_sentence
from ftjax.ablation.statistics.row_types import Summary
from ftjax.plotting import number_formats


def column_meanings(summary: Summary, header: list[str]) -> dict[str, str]:
    """Title to meaning, of the columns of a table in their order.

    Args:
      header: of `task_table` or `overall_table`.
    """
    known = _meanings(summary)
    return {title: known[title] for title in header}


def how_computed(summary: Summary) -> str:
    """How intervals are computed, and how often they miss, in a paragraph."""
    level = f'{100 * summary["confidence"]:g} %'
    arms = max(len(task['arms']) for task in summary['tasks']) - 1
    lines = [
        f'How the intervals of differences are computed: seeds are paired, variances moderated '
        f'over arms (Smyth 2004), the critical value is that of the largest |t| (single step), so '
        f'that all of them hold at once with {level}.',
        rate_sentence(arms, len(summary['seeds']), summary['confidence']),
        '*: a share of one program in which several runs ran together; lower than alone.'
        if summary.get('vectorised')
        else '',
    ]
    return ' '.join(line for line in lines if line)


def _meanings(summary: Summary) -> dict[str, str]:
    level, reference = f'{100 * summary["confidence"]:g} %', summary['reference']
    scored, chooser = (number_formats.headed(summary, split) for split in ('test', 'validation'))
    points = ', in points' if number_formats.scale_of(summary['metric']) == 100 else ''
    overall = scored.removeprefix('test ')
    interval = f'in brackets its {level} interval'
    return {
        'arm': 'one way of training; Setup in report.html says what each changes.',
        'finished runs': 'runs that ended well, of those planned, one for each seed.',
        scored: 'mean over seeds, each on its test examples.',
        f'{level} interval': 'of that mean (t interval over seeds), for this arm alone.',
        f'difference to {reference}': f'mean of the arm minus that of {reference}{points}; in '
        f'brackets the {level} interval; these intervals hold for all arms at once.',
        'P(better)': f'probability that the true mean is better than that of {reference}, for '
        'this arm alone.',
        'verdict': _verdicts(summary),
        'learning rate': f'the one with the best {chooser}; an arrow marks one on the edge of '
        'what was tried.',
        'trained parameters': 'weights that train, as numbers (k: thousands, M: millions).',
        'share trained': 'the same as a share of all weights of the network.',
        'time of a step': 'one update of the weights by one batch: the median of a run, averaged '
        'over runs.',
        'duration of a run': 'from its start to its end, compilation and validation included.',
        f'mean {overall}': f'mean over tasks; {interval}.',
        f'IQM {overall}': f'interquartile mean, that of the middle half of all runs; {interval}, a '
        f'stratified bootstrap, from {FEWEST} runs a task on. An unfinished run counts as its '
        "task's worst score.",
    }


def _verdicts(summary: Summary) -> str:
    told = 'read off that interval: better or worse if it leaves out 0'
    if summary['margin']:
        margin = number_formats.score(summary['margin'], summary['metric'])
        unit = ' points' if number_formats.scale_of(summary['metric']) == 100 else ''
        told += (
            f', equivalent if it lies within ±{margin}{unit}, up to which differences do not matter'
        )
    return (
        f'{told}, otherwise no significant difference; in brackets how many more seeds would '
        'decide, if the estimates stayed as they are.'
    )
