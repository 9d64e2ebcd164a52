"""What a checkpoint holds of a phase state, and how a phase state takes it up again."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from ftjax.distributed.device_put import on_host
from ftjax.freezing.data_driven_choice import Choice
from ftjax.freezing.partition import combine
from ftjax.io.json.tree_json import leaf_paths
from ftjax.leaves import flatten
from ftjax.pytrees import Flat, Variables
from ftjax.training.step.phase_state import PhaseState

COLLECTIONS = (('params', 'params'), ('batch_stats', 'stats'))
"""Of variables, and what checkpoints call them."""


def to_saved(phase_state: PhaseState, gather: bool = True) -> dict[str, object]:
    """What a checkpoint holds of a phase state: state, choices, and leaves that have closed.

    On the host; without `gather`, arrays of which other processes hold parts stay where they are.
    """
    held: Callable[[Any], object] = on_host if gather else lambda tree: tree
    frozen, phase = phase_state.frozen, phase_state.phase
    params = {**frozen.params, **phase_state.masters}
    return {
        'state': held(phase_state.state),
        'closed': held(_touched(phase_state, params, frozen.stats)),
        'chooser': chooser_of(phase_state),
        'choices': [choice.to_saved() for choice in phase_state.plan.choices],
        'phase': {
            'start': phase.start,
            'former': {name: sorted(found) for name, found in phase_state.former.items()},
        },
    }


def chooser_of(phase_state: PhaseState) -> str:
    """The strategy of a plan that looks at the data, with its arguments; '' where none does."""
    return str(phase_state.plan.term('data_driven') or '')


def touched_leaves(phase_state: PhaseState, variables: Variables) -> dict[str, Flat]:
    """What of some variables of the run may differ from what was loaded, on the host."""
    flat = [flatten(variables.get(k, {})) for k in ('params', 'batch_stats')]
    return jax.tree.map(np.asarray, _touched(phase_state, *flat))


def _touched(phase_state: PhaseState, params: Flat, stats: Flat) -> dict[str, Flat]:
    """Of leaves and statistics those that may differ from what was loaded by now."""
    leaves, stages = set(phase_state.former['params']), set(phase_state.former['stats'])
    for phase in phase_state.plan.phases:
        if phase.start <= phase_state.phase.start:
            leaves |= {*phase.trainable, *phase.reinit}
            stages |= {*phase.moving_stats}
    return {
        'params': {path: leaf for path, leaf in params.items() if path in leaves},
        'stats': {path: leaf for path, leaf in stats.items() if path.split('/')[0] in stages},
    }


def overlaid(variables: Variables, *leaves: Mapping[str, Flat]) -> dict[str, object]:
    """The variables with some leaves replaced; the inverse of `touched_leaves`.

    Leaves that the variables do not have in the same shape are left out; see `unfit`.
    """
    found, out = dict(variables), set(unfit(variables, *leaves))
    for name, part in COLLECTIONS:
        if variables.get(name):
            new = {k: x for some in leaves for k, x in some[part].items()}
            kept = {k: x for k, x in new.items() if f'{part}/{k}' not in out}
            found[name] = combine(flatten(variables[name]) | kept)
    return found


def unfit(variables: Variables, *leaves: Mapping[str, Flat]) -> tuple[str, ...]:
    """Of some leaves, those that the variables do not have in the same shape: 'params/PATH'."""
    found = []
    for name, part in COLLECTIONS:
        own = flatten(variables.get(name, {}))
        for path, leaf in ((k, x) for some in leaves for k, x in some[part].items()):
            if path not in own or np.shape(own[path]) != np.shape(leaf):
                found.append(f'{part}/{path}')
    return tuple(dict.fromkeys(found))


def moved_of(saved: Mapping[str, Any]) -> tuple[Mapping[str, Flat], Mapping[str, Flat]]:
    """What a checkpoint holds of leaves that have closed, and of those that train."""
    state = saved['state']
    return saved['closed'], {'params': state['trainable'], 'stats': state['stats']}


def restore(phase_state: PhaseState, saved: Mapping[str, Any], step: int) -> Changes:
    """Lets a phase state take up a checkpoint written after step `step`, in any phase.

    If another plan wrote it, every value that has moved stays, whether or not it still
    trains; optimizer state and averages are kept where they fit. The changes are told.
    """
    about = saved.get('phase', {'start': max(step - 1, 0), 'former': {}})
    for name, found in about['former'].items():
        phase_state.former[name] = set(found)
    # Choices of another strategy, or by other numbers, mean nothing to this one.
    another = saved.get('chooser', chooser_of(phase_state)) != chooser_of(phase_state)
    if chooser_of(phase_state) and not another:
        for choice in saved['choices']:
            phase_state.plan = phase_state.plan.with_choice(Choice.from_saved(choice))
    (closed, moved), state_ = moved_of(saved), saved['state']
    variables = overlaid(phase_state.variables, closed, moved)
    # Of leaves that have closed no tree tells; those that train are compared below.
    lost = tuple(f'closed/{path}' for path in unfit(phase_state.variables, closed))
    phase = phase_state.plan.at(about['start'])
    state, frozen = phase_state.started(variables, phase)
    merged, changes = merge(state_, state)
    if lost or not changes.same:
        # The start of the old plan's phase means nothing to a new plan.
        phase = phase_state.plan.at(max(step - 1, 0))
        state, frozen = phase_state.started(variables, phase)
        merged, changes = merge(state_, state, ungrouped)
        changes = dataclasses.replace(changes, dropped=(*changes.dropped, *lost))
    if another or not changes.same:
        phase_state.former['params'] |= {*moved['params'], *closed['params']}
        phase_state.former['stats'] |= {
            p.split('/')[0] for p in (*moved['stats'], *closed['stats'])
        }
    phase_state.stand(variables, phase, merged, frozen)
    return changes


@dataclasses.dataclass(frozen=True)
class Changes:
    """Leaf paths of an expected tree and of a saved one, by what becomes of them."""

    kept: tuple[str, ...]
    """In both, with the same shape and dtype: taken from the checkpoint."""
    initialised: dict[str, str]
    """Expected but not saved so, with the reason: they start anew."""
    dropped: tuple[str, ...]
    """Saved but not expected: they are left behind."""

    @property
    def same(self) -> bool:
        """True when nothing is initialised and nothing dropped."""
        return not self.initialised and not self.dropped

    @property
    def counts(self) -> str:
        """How many leaves are kept, initialised and dropped."""
        kept, begun, dropped = map(len, (self.kept, self.initialised, self.dropped))
        return f'{kept} leaves kept, {begun} initialised, {dropped} dropped'

    def table(self, limit: int = 40) -> str:
        """Lines for people: the counts, then up to `limit` paths that are not kept."""
        rows = [f'  initialised: {path} ({why})' for path, why in self.initialised.items()]
        rows += [f'  dropped: {path}' for path in self.dropped]
        more = [f'  and {len(rows) - limit} more'] if len(rows) > limit else []
        return '\n'.join([self.counts, *rows[:limit], *more])


def merge(
    saved: object, expected: object, known_as: Callable[[str], str] = str
) -> tuple[Any, Changes]:
    """`expected`, in its own containers, with the saved value of every leaf that still fits.

    Leaves are compared by path (by what `known_as` says of it), shape and dtype.

    >>> saved = {'mu': {'head/kernel': np.zeros(3), 'norm/scale': np.zeros(2)}}
    >>> merge(saved, {'mu': {'head/kernel': np.ones(4)}})[1].initialised
    {'mu/head/kernel': 'float64(3,) in the checkpoint, float64(4,) expected'}
    """
    here, paths = leaf_paths(expected), leaf_paths(saved)
    there = {known_as(path): leaf for path, leaf in paths.items()}
    kept, initialised = {}, {}
    for path, leaf in here.items():
        found = there.get(known_as(path))
        if found is None:
            initialised[path] = 'not in the checkpoint'
        elif _kind(found) != _kind(leaf):
            initialised[path] = f'{_kind(found)} in the checkpoint, {_kind(leaf)} expected'
        else:
            kept[path] = found
    wanted = {known_as(path) for path in here}
    dropped = tuple(path for path in paths if known_as(path) not in wanted)
    merged = jax.tree.unflatten(jax.tree.structure(expected), (here | kept).values())
    return merged, Changes(tuple(kept), initialised, dropped)


def ungrouped(path: str) -> str:
    """The place of an optimizer's leaf without the name of the group that its plan gave it.

    >>> ungrouped('opt_state/1/inner_states/top/decay/inner_state/0/mu/head/kernel')
    'opt_state/1/inner_states/*/inner_state/0/mu/head/kernel'
    """
    return re.sub(r'inner_states/.+?/(?:no_)?decay/', 'inner_states/*/', path)


def _kind(leaf: object) -> str:
    if not (hasattr(leaf, 'dtype') and hasattr(leaf, 'shape')):
        return type(leaf).__name__
    return f'{getattr(leaf.dtype, "name", leaf.dtype)}{tuple(leaf.shape)}'
