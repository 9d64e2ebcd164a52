"""The verdicts of races in a summary: those of the looks that decided them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def with_races(
    summary: Mapping[str, Any], races: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The summary with each arm's difference as the race saw it, and the races themselves.

    A race looks at its scores several times; what one look says at the level of a single look
    would promise too much. Its intervals spend a share of the level each, and hold all together.

    Args:
      summary: from `summarise`.
      races: task to what `account.described` says; '' where there is one task.
    """
    tasks = []
    for task in summary['tasks']:
        verdicts = races[task['task'] if task['task'] in races else '']['verdicts']
        arms = [
            {**arm, 'difference': _difference(verdicts[arm['arm']], summary['confidence'])}
            if arm['arm'] in verdicts
            else arm
            for arm in task['arms']
        ]
        tasks.append({**task, 'arms': arms})
    return {**summary, 'tasks': tasks, 'races': dict(races)}


def _difference(told: Mapping[str, Any], confidence: float) -> dict[str, Any] | None:
    if told['difference'] is None:
        return None
    known = told['low'] is not None and told['high'] is not None
    return {
        'interval': {
            'estimate': told['difference'],
            'low': told['low'] if known else None,
            'high': told['high'] if known else None,
            'n': told['seeds'],
            'method': 'group-sequential',
            'confidence': confidence,
        },
        'standard_error': told['standard_error'] if known else None,
        'probability_better': told['probability_better'],
        'verdict': told['verdict'],
        'further_seeds': told['further_seeds'],
        'look': told['look'],
    }
