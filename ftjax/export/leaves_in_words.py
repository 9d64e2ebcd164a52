"""Which leaves a plan trained and which it left frozen, as tables of Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from ftjax.io.json.json_values import JsonObject
from ftjax.printable import in_markdown

FROZEN = 'frozen'


def leaves_tables(plan: JsonObject) -> list[str]:
    """A table a phase: stages, what trained in them, what stayed as it was.

    Args:
      plan: plan.json; phases without leaves give no table.
    """
    lines: list[str] = []
    phases = [phase for phase in plan.get('phases') or [] if phase.get('leaves')]
    for phase in phases:
        if len(phases) > 1:
            lines += ['', f'From step {phase.get("start", 0)}:']
        lines += ['', '| stages | trained leaves | frozen leaves | trained parameters |']
        lines += ['|---|---|---|---:|']
        lines += [f'| {" | ".join(row)} |' for row in _rows(phase['leaves'])]
    return lines


def _rows(leaves: Mapping[str, JsonObject]) -> list[tuple[str, str, str, str]]:
    """Neighbouring stages that are treated alike are one row."""
    stages: dict[str, dict[str, JsonObject]] = {}
    for path, leaf in leaves.items():
        stage, _, name = path.partition('/')
        stages.setdefault(stage, {})[name] = leaf
    runs: list[tuple[list[str], tuple[str, str], int]] = []
    for stage, inside in stages.items():
        moved = [name for name, leaf in inside.items() if leaf.get('group') != FROZEN]
        still = [name for name in inside if name not in moved]
        words = (_listed(moved, len(inside)), _listed(still, len(inside)))
        size = sum(math.prod(inside[name].get('shape') or ()) for name in moved)
        if runs and runs[-1][1] == words:
            runs[-1] = ([*runs[-1][0], stage], words, runs[-1][2] + size)
        else:
            runs.append(([stage], words, size))
    return [
        (in_markdown(names[0] + (f' .. {names[-1]}' if len(names) > 1 else '')), *words, f'{n:,}')
        for names, words, n in runs
    ]


def _listed(names: Iterable[str], count: int) -> str:
    """All of a stage's leaves as a number, some by name.

    >>> _listed(['kernel', 'bias'], 2), _listed([], 2), _listed(['bias'], 2)
    ('all 2', '–', '`bias`')
    """
    names = list(names)
    if len(names) == count:
        return f'all {count}'
    return ', '.join(f'`{in_markdown(name)}`' for name in names) or '–'
