"""All figures of a summary: drawn where their numbers exist, saved as PNG and SVG."""

from __future__ import annotations

import dataclasses
import itertools
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ftjax.ablation.report import (
    figures_arms,
    figures_differences,
    figures_front,
    figures_rates,
    figures_retention,
    figures_sequence,
    figures_shifts,
)
from ftjax.ablation.statistics.row_types import Summary
from ftjax.plotting import heatmaps
from ftjax.plotting.save import save_figure
from ftjax.printable import in_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# (file name, caption, function of a task and the summary); order is that of the report.
OF_TASK = (
    (
        'differences_by_arm',
        'Differences to the reference, the best arm first',
        figures_differences.differences_by_arm,
    ),
    ('scores_by_arm', 'Score of every arm', figures_arms.scores_by_arm),
    (
        'differences_by_cost',
        'What every arm gives up and what it costs, against the reference',
        figures_front.differences_by_cost,
    ),
    (
        'learning_and_forgetting',
        'What every arm learns, against what it forgets of what the network could',
        figures_retention.learning_and_forgetting,
    ),
    (
        'forgetting_in_turn',
        'What every arm forgot of the tasks before, against what it had learned of them',
        figures_sequence.forgetting_in_turn,
    ),
    ('shift_lines', 'Every arm on every test set', figures_shifts.shift_lines),
    ('in_out_plane', 'In and out of distribution', figures_shifts.in_out_plane),
    ('depth_curve', 'Score against depth', figures_arms.depth_curve),
    ('rate_curves', 'Learning rates tried, on validation data', figures_rates.rate_curves),
    ('movement', 'Which stages moved, and how far', heatmaps.movement),
)
OF_ALL = (
    ('scores_by_shift', 'Arms against shifts', heatmaps.scores_by_shift),
    ('profiles', 'Performance profiles over all tasks', figures_rates.profiles),
)


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A figure with the file name (no ending), caption and task (None: all) it belongs to."""

    name: str
    caption: str
    task: str | None
    figure: Figure


def draw(summary: Summary) -> Iterator[Drawn]:
    """Every figure that the summary has the numbers for, one after the other.

    Args:
      summary: from `summarise`, or read back from summary.json.
    """
    several, names = len(summary['tasks']) > 1, [task['task'] for task in summary['tasks']]
    endings = endings_of(names)
    summary = drawable(summary)
    for name, caption, function in OF_ALL:
        figure = function(summary)
        if figure is not None:
            yield Drawn(name, caption, None, figure)
    for called, ending, task in zip(names, endings, summary['tasks'], strict=True):
        for name, caption, function in OF_TASK:
            figure = function(task, summary)
            if figure is not None:
                about = f'{caption}: {called}' if several else caption
                yield Drawn(name + ending * several, about, called, figure)


def endings_of(tasks: Sequence[str]) -> list[str]:
    """What the file names of a task's figures end with, for each task another.

    >>> endings_of(['tfds:cifar10', 'a/b', 'a b'])
    ['_tfds_cifar10', '_a_b', '_a_b_2']
    """
    found: list[str] = []
    for task in tasks:
        # Task names such as 'tfds:cifar10' are not file names everywhere.
        plain = ending = '_' + re.sub(r'[^\w.-]+', '_', task)
        numbers = itertools.count(2)
        while ending in found:
            ending = f'{plain}_{next(numbers)}'
        found.append(ending)
    return found


def figure_names(tasks: Sequence[str]) -> set[str]:
    """The names, without endings, that figures of an ablation on these tasks may have.

    >>> {'rate_curves', 'profiles'} < figure_names(['all'])
    True
    >>> 'rate_curves_a' in figure_names(['a', 'b']) and 'rate_curves' not in figure_names(
    ...     ['a', 'b']
    ... )
    True
    """
    several = len(tasks) > 1
    of_tasks = {name + ending * several for name, *_ in OF_TASK for ending in endings_of(tasks)}
    return of_tasks | {name for name, *_ in OF_ALL}


def drawable(summary: Summary) -> dict[str, Any]:
    """The summary with the names of arms, tasks, test sets and stages as matplotlib draws them."""

    def named(found: Mapping[str, object]) -> dict[str, object]:
        return {in_figure(name): value for name, value in found.items()}

    def of_arm(arm: Summary) -> dict[str, object]:
        inside = {key: named(arm[key]) for key in ('shifts', 'movement') if key in arm}
        return {**arm, 'arm': in_figure(arm['arm']), **inside}

    tasks = [
        {**task, 'task': in_figure(task['task']), 'arms': [of_arm(arm) for arm in task['arms']]}
        for task in summary['tasks']
    ]
    overall = summary['overall']
    if overall:
        overall = {**overall, 'arms': [of_arm(arm) for arm in overall['arms']]}
    named_too: dict[str, Any] = {'reference': in_figure(summary['reference'])}
    if kept := summary.get('retention'):
        shown = {key: in_figure(kept[key]) for key in ('of', 'before')}
        named_too['retention'] = {**kept, **shown}
    return {**summary, 'tasks': tasks, 'overall': overall, **named_too}


def save_figures(
    folder: str | os.PathLike[str],
    summary: Summary,
    formats: tuple[str, ...] = ('png', 'svg'),
    drawn: Iterable[Drawn] | None = None,
) -> list[pathlib.Path]:
    """Writes every figure into a folder, those `drawn` already say; returns the files."""
    written = []
    for one in draw(summary) if drawn is None else drawn:
        for ending in formats:
            path = pathlib.Path(folder) / f'{one.name}.{ending}'
            save_figure(one.figure, path)
            written.append(path)
    return written
