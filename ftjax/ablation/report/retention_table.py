"""Learning and forgetting side by side: what arms gain on the task, and change elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ftjax.ablation.report.arm_cells import difference, seeds, with_bounds
from ftjax.ablation.report.arm_columns import (
    Column,
    Table,
    shown_columns,
    table_of,
    task_columns,
)
from ftjax.ablation.statistics.row_types import Summary
from ftjax.io.process.host_memory import shown_size
from ftjax.plotting import number_formats

HEADING = 'Learning and forgetting'
WORDS = {
    'worse': 'forgets',
    'better': 'gains',
    'equivalent': 'keeps',
    'undecided': 'no significant change',
}
"""A verdict on the change of what was measured before anything was added."""
COUNTED = (
    ('worse', 'forget'),
    ('better', 'gain'),
    ('equivalent', 'keep it within ±{margin}'),
    ('undecided', 'show no significant change'),
    ('none', 'have no verdict'),
)


def retention_table(task: Summary, summary: Summary) -> Table:
    """Header and rows: an arm each, with its verdicts on both, and its costs."""
    return table_of(_columns(summary), task['arms'])


def retention_meanings(summary: Summary) -> dict[str, str]:
    """{title: meaning} of the columns, in their order."""
    return {
        column.title: column.meaning
        for task in summary['tasks']
        for column, _ in shown_columns(_columns(summary), task['arms'])
    }


def retention_sentence(task: Summary, summary: Summary) -> str:
    """How many arms forget, keep or gain what `retention` measures, and which."""
    told = summary['retention']
    by: dict[str, list[str]] = {key: [] for key, _ in COUNTED}
    for arm in task['arms']:
        change = _change(arm)
        if change is not None:
            known = change['standard_error'] is not None
            by[change['verdict'] if known else 'none'].append(arm['arm'])
    count = sum(map(len, by.values()))
    if not count:
        return f'No arm could be compared with {told["before"]} on {told["of"]}.'
    margin = number_formats.score(told['margin'], told['metric']) + _unit(told['metric'])
    found = [
        f'{len(names)} {words.format(margin=margin)} ({", ".join(names)})'
        for key, words in COUNTED
        if (names := by[key])
    ]
    arms = f'{count} arm{"" if count == 1 else "s"}'
    return (
        f'Of {arms} compared on {told["of"]} with {told["before"]}, the network before anything '
        f'was added: {"; ".join(found)}.'
    )


def change_verdict(arm: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    """Whether an arm forgets, in words, with the seeds that would decide it."""
    change = _change(arm)
    if change is None:
        return '–'
    if change['standard_error'] is None:
        return 'no verdict'
    word = WORDS[change['verdict']]
    if change['verdict'] == 'equivalent':
        return f'{word} (±{number_formats.score(told["margin"], told["metric"])})'
    more = change['further_seeds']
    return word if more is None else f'{word} ({seeds(more)})'


def _columns(summary: Summary) -> list[Column]:
    told, of_task = summary['retention'], {one.title: one for one in task_columns(summary)}
    metric, of, before = told['metric'], told['of'], told['before']
    level = f'{100 * summary["confidence"]:g} %'
    title = number_formats.title_of(metric)
    lower = '' if told['higher_is_better'] else ', lower is better'
    side = 'Below' if told['higher_is_better'] else 'Above'
    within = (
        f' It keeps what it could if the interval lies within ±'
        f'{number_formats.score(told["margin"], metric)}{_unit(metric)}.'
        if told['margin']
        else ''
    )
    return [
        of_task['arm'],
        of_task[f'difference to {summary["reference"]}'],
        of_task['verdict'],
        Column(
            f'{of}: {title}{lower}',
            lambda arm: with_bounds((arm.get('retention') or {}).get('mean'), metric),
            f'Mean over seeds on {of}, with its {level} t interval, for the arm alone.',
        ),
        Column(
            f'change of {of}',
            lambda arm: difference({'difference': _change(arm)}, metric),
            f'Mean of the arm on {of} minus that of {before}, the network before anything was '
            f'added, each seed beside the same seed, with {level} intervals that hold for all arms '
            f'at once, as those of the difference do. {side} 0 is forgotten.',
        ),
        Column(
            'forgetting',
            lambda arm: change_verdict(arm, told),
            'Read off the interval of the change. An arm forgets or gains if it leaves out 0.'
            f'{within} Otherwise no significant change: the data allow both. In brackets: how many '
            'more seeds would decide, if the estimates stayed as they are.',
        ),
        of_task['time of a step'],
        Column(
            'memory of a step',
            _bytes('step_bytes'),
            'Device memory that the compiled step takes, as its compiler says: weights, optimizer '
            'state, batch and what is kept for the backward pass.',
        ),
        Column(
            'optimizer state',
            _bytes('optimizer_bytes'),
            'What the optimizer keeps between steps for the parameters that are trained.',
        ),
    ]


def _bytes(key: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda arm: '–' if arm.get(key) is None else shown_size(arm[key])


def _change(arm: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return (arm.get('retention') or {}).get('change')


def _unit(metric: str) -> str:
    return ' points' if number_formats.scale_of(metric) == 100 else ''
