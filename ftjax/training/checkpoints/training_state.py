"""What a checkpoint holds of a phase state, and how a phase state takes it up again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from ftjax.distributed.device_put import on_host
from ftjax.freezing.data_driven_choice import Choice
from ftjax.freezing.partition import combine
from ftjax.pytrees import Flat
from ftjax.training.checkpoints.compatibility import Changes, merge, ungrouped
from ftjax.training.step.phase_state import PhaseState


def to_saved(phase_state: PhaseState, gather: bool = True) -> dict[str, Any]:
    """What a checkpoint holds of a phase state: state, choices, and leaves that have closed.

    On the host; without `gather`, arrays of which other processes hold parts stay where they are.
    """
    held = on_host if gather else lambda tree: tree
    leaves, stages = touched(phase_state)
    frozen, phase = phase_state.frozen, phase_state.phase
    values = {**frozen.params, **phase_state.masters}
    closed = {p: leaf for p, leaf in values.items() if p in leaves}
    still = {p: leaf for p, leaf in frozen.stats.items() if p.split('/')[0] in stages}
    return {
        'state': held(phase_state.state),
        'closed': held({'params': closed, 'stats': still}),
        'choices': [choice.to_saved() for choice in phase_state.plan.choices],
        'phase': {
            'start': phase.start,
            'former': {name: sorted(found) for name, found in phase_state.former.items()},
        },
    }


def touched(phase_state: PhaseState) -> tuple[set[str], set[str]]:
    """Leaves, and stages with statistics, that may differ from what was loaded by now."""
    leaves, stages = set(phase_state.former['params']), set(phase_state.former['stats'])
    for phase in phase_state.plan.phases:
        if phase.start <= phase_state.phase.start:
            leaves |= {*phase.trainable, *phase.reinit}
            stages |= {*phase.moving_stats}
    return leaves, stages


def touched_leaves(phase_state: PhaseState, variables: Mapping[str, Any]) -> dict[str, Flat]:
    """What of some variables of the run may differ from what was loaded, on the host."""
    leaves, stages = touched(phase_state)
    params: Flat = flatten_dict(dict(variables['params']), sep='/')
    stats: Flat = flatten_dict(dict(variables.get('batch_stats', {})), sep='/')
    return {
        'params': {p: np.asarray(x) for p, x in params.items() if p in leaves},
        'stats': {p: np.asarray(x) for p, x in stats.items() if p.split('/')[0] in stages},
    }


def overlaid(variables: Mapping[str, Any], leaves: Mapping[str, Flat]) -> dict[str, Any]:
    """The variables with some leaves replaced; the inverse of `touched_leaves`."""
    params: Flat = flatten_dict(dict(variables['params']), sep='/')
    found = {**variables, 'params': combine({**params, **leaves['params']})}
    if variables.get('batch_stats'):
        stats: Flat = flatten_dict(dict(variables['batch_stats']), sep='/')
        found['batch_stats'] = combine({**stats, **leaves['stats']})
    return found


def restore(phase_state: PhaseState, saved: Mapping[str, Any], step: int) -> Changes:
    """Lets a phase state take up a checkpoint written after step `step`, in any phase.

    If another plan wrote it, every value that has moved stays, whether or not it still
    trains; optimizer state and averages are kept where they fit. The changes are told.
    """
    about = saved.get('phase', {'start': max(step - 1, 0), 'former': {}})
    for name, found in about['former'].items():
        phase_state.former[name] = set(found)
    if phase_state.plan.term('data_driven') is not None:
        for choice in saved['choices']:
            phase_state.plan = phase_state.plan.with_choice(Choice.from_saved(choice))
    closed, open_ = saved['closed'], saved['state']
    variables = overlaid(
        phase_state.variables,
        {
            'params': {**closed['params'], **open_['trainable']},
            'stats': {**closed['stats'], **open_['stats']},
        },
    )
    phase = phase_state.plan.at(about['start'])
    state, frozen = phase_state.started(variables, phase)
    merged, changes = merge(open_, state)
    if not changes.same:
        # The start of the old plan's phase means nothing to a new plan.
        phase = phase_state.plan.at(max(step - 1, 0))
        state, frozen = phase_state.started(variables, phase)
        merged, changes = merge(open_, state, ungrouped)
        phase_state.former['params'] |= {*open_['trainable'], *closed['params']}
        moved = {*open_['stats'], *closed['stats']}
        phase_state.former['stats'] |= {path.split('/')[0] for path in moved}
    phase_state.stand(variables, phase, merged, frozen)
    return changes
