"""The plan as text: what a person reads before a run starts."""

from __future__ import annotations

from ftjax.freezing.plan import Phase, Plan
from ftjax.freezing.rules import FROZEN


def plan_table(plan: Plan, learning_rate: float | None = None) -> str:
    """The table by stage of every phase, with both sides of the cut."""
    return '\n\n'.join(phase_table(phase, plan.strategy, learning_rate) for phase in plan.phases)


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
