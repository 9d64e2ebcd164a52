"""Columns of an ablation's tables: what a cell says, and what the column means."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ftjax.ablation.report.arm_cells import (
    chance,
    difference,
    joint_time,
    runs,
    verdict,
    with_bounds,
)
from ftjax.ablation.statistics.bootstrap import FEWEST
from ftjax.ablation.statistics.error_rates import rate_sentence
from ftjax.ablation.statistics.row_types import Summary
from ftjax.plotting import number_formats

Table = tuple[list[str], list[list[str]]]
"""Header and rows."""


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a table with an arm a row."""

    title: str
    cell: Callable[[Mapping[str, Any]], str]
    meaning: str
    """For people who see the table for the first time."""
    always: bool = False
    """Whether it is there where no arm has a number for it."""


def task_table(task: Summary, summary: Summary) -> Table:
    """Header and rows of one task; columns that no arm has a number for are left out."""
    return table_of(task_columns(summary), task['arms'])


def overall_table(summary: Summary) -> Table:
    """Header and rows over all tasks: mean, IQM, difference, P(better), verdict."""
    return table_of(_overall_columns(summary), summary['overall']['arms'])


def meanings(summary: Summary) -> dict[str, str]:
    """{title: meaning} of the columns of all its tables, in their order."""
    tables = [(task_columns(summary), task['arms']) for task in summary['tasks']]
    if summary['overall'] and summary['overall']['arms']:
        tables.insert(0, (_overall_columns(summary), summary['overall']['arms']))
    return {
        column.title: column.meaning
        for columns, arms in tables
        for column, _ in shown_columns(columns, arms)
    }


def promise(summary: Summary) -> str:
    """How often intervals as these missed in simulated grids; '' where none were simulated.

    Neither those of folds, whose training sets overlap, nor those of a race, which looks several
    times, were.
    """
    if summary.get('folds') or summary.get('races'):
        return ''
    arms = max(len(task['arms']) for task in summary['tasks']) - 1
    return rate_sentence(arms, len(summary['seeds']), summary['confidence'])


def task_columns(summary: Summary) -> list[Column]:
    """The columns of the table of a task, also those that no arm has a number for."""
    metric, reference = summary['metric'], summary['reference']
    level = f'{100 * summary["confidence"]:g} %'
    score = number_formats.headed(summary)
    return [
        Column(
            'arm',
            lambda arm: arm['arm'] + (' (reference)' if arm['arm'] == reference else ''),
            f'A way of training. Each is compared with {reference}, the reference.',
            always=True,
        ),
        Column(
            'finished runs',
            runs,
            'Runs that came to their end, of those planned: one for each seed.',
            always=True,
        ),
        Column(
            score,
            lambda arm: number_formats.score(_mean(arm), metric),
            'Mean over seeds.',
            always=True,
        ),
        Column(
            f'{level} interval',
            lambda arm: number_formats.bounds(arm['mean'], metric, clip=True),
            'The t interval of this mean, for the arm alone. To compare arms, read the difference.',
            always=True,
        ),
        *_comparing(summary),
        Column(
            'learning rate',
            lambda arm: number_formats.rate(arm['rate'], arm['rate_edge']),
            'Given: none was chosen.'
            if all(
                (arm.get('n_trials') or 0) < 2 for task in summary['tasks'] for arm in task['arms']
            )
            else f'Chosen on {number_formats.headed(summary, "validation")}. An arrow marks one on '
            'the edge of what was tried: a better one may lie beyond it.',
        ),
        Column(
            'trained parameters',
            lambda arm: number_formats.count(arm['params_trainable']),
            'Numbers of the network that training may change, a new head included.',
        ),
        Column(
            'share trained',
            lambda arm: number_formats.share(arm['trainable_share']),
            'Trained parameters, of all that the network has.',
        ),
        Column(
            'time of a step',
            lambda arm: joint_time(arm, 'step_seconds', summary),
            f'Time to train on one batch: the median of a run, averaged over runs.{_star(summary)}',
        ),
        Column(
            'duration of a run',
            lambda arm: joint_time(arm, 'wall_seconds', summary),
            'Time of training with its compilation and its looks at validation data, averaged over '
            f'runs.{_star(summary)}',
        ),
    ]


def _overall_columns(summary: Summary) -> list[Column]:
    metric, reference = summary['metric'], summary['reference']
    title = number_formats.headed(summary).removeprefix('test ')
    return [
        Column(
            'arm',
            lambda arm: arm['arm'],
            f'A way of training. Each is compared with {reference}, the reference.',
            always=True,
        ),
        Column(
            'finished runs',
            lambda arm: f'{arm["n_runs"] - arm["n_unfinished"]} of {arm["n_runs"]}',
            'Runs that came to their end, of those planned: one for each seed.',
            always=True,
        ),
        Column(
            f'mean {title}',
            lambda arm: with_bounds(arm['mean'], metric),
            'Mean over tasks and seeds, with its interval.',
            always=True,
        ),
        Column(
            f'IQM {title}',
            lambda arm: with_bounds(arm['iqm'], metric),
            'Interquartile mean: the mean of the middle half of all runs. An unfinished run counts '
            "as its task's worst score. Its interval is a stratified bootstrap, from "
            f'{FEWEST} runs a task on.',
            always=True,
        ),
        *_comparing(summary),
    ]


def _comparing(summary: Summary) -> list[Column]:
    metric, reference = summary['metric'], summary['reference']
    level = f'{100 * summary["confidence"]:g} %'
    margin = number_formats.score(summary['margin'], metric)
    margin += ' points' if number_formats.scale_of(metric) == 100 else ''
    equivalent = (
        f' Equivalent if it lies within ±{margin}, the margin up to which differences do not '
        'matter.'
        if summary['margin']
        else ''
    )
    return [
        Column(
            f'difference to {reference}',
            lambda arm: difference(arm, metric),
            f'Mean of the arm minus that of {reference}, each seed beside the same seed, with '
            f'{level} intervals that hold for all arms at once (variances moderated over arms, '
            'Smyth 2004; the critical value is that of the largest |t|, single step).',
        ),
        Column(
            'P(better)',
            lambda arm: chance(arm['difference']),
            f'Probability, in the same model, that the mean is better than that of {reference}; '
            'for one arm alone.',
        ),
        Column(
            'verdict',
            lambda arm: verdict(arm['difference'], summary),
            'Read off the interval of the difference. Better or worse if it leaves out 0.'
            f'{equivalent} Otherwise no significant difference: the data allow both. In brackets: '
            'how many more seeds would decide, if the estimates stayed as they are.',
        ),
    ]


def _star(summary: Summary) -> str:
    if not summary.get('vectorised'):
        return ''
    return ' *: a share of one program in which several runs ran together; lower than alone.'


def _mean(arm: Mapping[str, Any]) -> float | None:
    return arm['mean']['estimate'] if arm['mean'] else None


def shown_columns(
    columns: Sequence[Column], arms: Sequence[Summary]
) -> list[tuple[Column, list[str]]]:
    """The columns that are shown, each with its cells, an arm each."""
    cells = [(column, [column.cell(arm) for arm in arms]) for column in columns]
    return [
        (column, texts)
        for column, texts in cells
        if column.always or any(text != '–' for text in texts)
    ]


def table_of(columns: Sequence[Column], arms: Sequence[Summary]) -> Table:
    """Header and rows of the columns that are shown."""
    shown = shown_columns(columns, arms)
    rows = zip(*(texts for _, texts in shown), strict=True)
    return [column.title for column, _ in shown], [list(row) for row in rows]
