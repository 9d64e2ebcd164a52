"""The plan as text: what a person reads before a run starts."""

from __future__ import annotations

from collections.abc import Collection

from ftjax.freezing.plan.plan import Phase, Plan
from ftjax.freezing.rules import FROZEN


def plan_table(plan: Plan, learning_rate: float | None = None) -> str:
    """The first phase by stage with both sides of its cut, and a line for each later one."""
    parts = [phase_table(plan.phases[0], plan.strategy, learning_rate)]
    before = plan.phases[0]
    for phase in plan.phases[1:]:
        parts.append(change_line(before, phase))
        before = phase
    if plan.choose_at:
        steps = ', '.join(map(str, plan.choose_at[:4])) + (' ..' if len(plan.choose_at) > 4 else '')
        parts.append(f'what trains is decided from data at step {steps}')
    return '\n'.join(parts)


def change_line(before: Phase, phase: Phase) -> str:
    """What a phase changes of the one before it: stages that open, stages that close."""
    old, new = set(before.trainable), set(phase.trainable)
    several = (('opens', new - old), ('closes', old - new), ('re-initialises', phase.reinit))
    changes = [f'{word} {", ".join(stages_of(phase, paths))}' for word, paths in several if paths]
    if phase.restart:
        changes.append('the schedule begins anew')
    trained, total = phase.size(trainable_only=True), phase.size()
    share = f'{trained:,} ({100 * trained / total:.3g} %) trainable, cut at {phase.cut}'
    return f'from step {phase.start}: {"; ".join([*changes, share])}'


def stages_of(phase: Phase, paths: Collection[str]) -> list[str]:
    """The stages that hold some leaves, in depth order."""
    return list(dict.fromkeys(leaf.stage for path, leaf in phase.leaves.items() if path in paths))


def phase_table(phase: Phase, strategy: str, learning_rate: float | None = None) -> str:
    """Stage, parameters, trainable, groups, rate, decay, statistics and noise, as columns."""
    rows = [('stage', 'parameters', 'trainable', 'group', 'rate', 'decay', 'statistics', 'noise')]
    for name, stage in phase.stages.items():
        leaves = [leaf for leaf in phase.leaves.values() if leaf.stage == name]
        moving = [leaf for leaf in leaves if leaf.group != FROZEN]
        factors = sorted({leaf.multiplier for leaf in moving})
        scale = 1.0 if learning_rate is None else learning_rate
        rates = ' .. '.join(f'{scale * f:.3g}' for f in dict.fromkeys(factors[:1] + factors[-1:]))
        rows.append(
            (
                name,
                f'{sum(leaf.size for leaf in leaves):,}',
                f'{sum(leaf.size for leaf in moving):,}',
                ', '.join(sorted({leaf.group for leaf in leaves})) or '-',
                rates + ('x' if rates and learning_rate is None else '') or '-',
                'yes' if any(leaf.decay for leaf in moving) else '-',
                'batch' if stage.mode.batch_stats else 'frozen',
                'off' if stage.mode.deterministic else 'on',
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        if row[0] == phase.cut:
            lines.append(f'{" cut: no gradient goes above this line ":-^{sum(widths) + 14}}')
        cells = [
            cell.rjust(w) if i in (1, 2) else cell.ljust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append('  '.join(cells).rstrip())
    total, trained = phase.size(), phase.size(trainable_only=True)
    order = list(phase.stages)
    before = order[order.index(phase.cut) - 1] if phase.cut != order[0] else 'the inputs'
    return '\n'.join(
        (
            f'freeze = {strategy!r}, from step {phase.start}',
            *lines,
            f'trainable: {trained:,} of {total:,} parameters ({100 * trained / total:.3g} %)',
            f'cut: gradients stop between {before} and {phase.cut}',
        )
    )
