"""The phase state of a run through the phases of its plan: state, step and what is carried on."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from ftjax.distributed.device_put import on_host
from ftjax.distributed.process_group import several
from ftjax.freezing.gradient_probe import Probe
from ftjax.freezing.plan.phase import Phase
from ftjax.leaves import flatten
from ftjax.pytrees import Flat, Variables
from ftjax.training.step.phase_change import carried, masters_of, reinitialised
from ftjax.training.step.run_spec import RunSpec
from ftjax.training.step.state import Frozen, TrainState, make_state, variables_of
from ftjax.training.step.train_step import TrainStep

SLOW = 1e-3
"""A leaf whose rate is this share of the common one may be as it was after a few steps."""


class PhaseState:
    """Where a run stands: its plan with the choices made so far, its phase, its state.

    `enter(step)` moves to the phase of a step: trees are partitioned anew, moments of leaves
    that stay are carried by path, leaves that open start as the plan's policy says, leaves
    that close keep their last values and lose their optimizer state.
    """

    def __init__(self, spec: RunSpec):
        self.spec, self.plan = spec, spec.plan
        self.network, self.variables = spec.network, spec.variables
        self.seed, self.sharding = spec.seed, spec.sharding
        self.loaded: Flat = flatten(spec.variables['params'])
        self.phase: Phase = self.plan.base or self.plan.phases[0]
        self.entered = False
        self.former: dict[str, set[str]] = {'params': set(), 'stats': set()}
        """What trained under an earlier plan of the run: leaves, stages with statistics."""
        self.masters: Flat = {}
        """On the host, the values of the frozen leaves that the device holds rounded."""
        self.state: TrainState
        self.frozen: Frozen

    def enter(self, step: int) -> None:
        """Moves to the phase that `step` belongs to; nothing happens within a phase."""
        phase = self.plan.at(step)
        if self.entered and phase is self.phase:
            return
        if not self.entered:
            variables = reinitialised(
                self.network, self.variables, phase.reinit, self.seed, phase.start
            )
            state, frozen = self.started(variables, phase)
        else:
            variables = self.current(averaged=False)
            if several():  # only compiled programs can compute with what other processes hold
                variables, self.state = on_host((variables, self.state))
            variables = self.with_new_values(variables, phase)
            tx, reset = self.spec.train_step(phase).tx, self.plan.optimizer_state == 'reset'
            state, frozen = carried(self.state, variables, phase, tx, reset)
        self.stand(variables, phase, state, frozen)

    def with_new_values(self, variables: Variables, phase: Phase) -> Mapping[str, object]:
        """Variables with the leaves that a phase begins anew at their random values."""
        return reinitialised(self.network, variables, phase.reinit, self.seed, phase.start)

    def started(self, variables: Variables, phase: Phase) -> tuple[TrainState, Frozen]:
        """State and frozen part of a phase that begins with some variables."""
        tx, ema = self.spec.train_step(phase).tx, self.spec.step_optimizer.ema
        with self.sharding.making():  # before anything lies where the sharding says
            return make_state(variables, phase, tx, ema, self.seed)

    def stand(self, variables: Variables, phase: Phase, state: TrainState, frozen: Frozen) -> None:
        """Lets the phase state stand in a phase: its parts, each where the sharding says."""
        frozen = frozen.replace(
            entries=self.entries(phase),
            reference=self.reference(phase),
            importance=self.importance(phase),
        )
        self.masters = masters_of(variables, phase)
        self.state, self.frozen = self.sharding.place(state, frozen)
        self.phase, self.entered = phase, True

    def entries(self, phase: Phase) -> Flat:
        """Masks of single entries that the last choice made, for the leaves that train."""
        found = self.plan.choices[-1].entries if self.plan.choices else {}
        return {path: jnp.asarray(found[path]) for path in phase.trainable if path in found}

    def reference(self, phase: Phase) -> Flat:
        """The pretrained values of the leaves that train, where a regulariser reads them."""
        if not self.plan.of_kind('regulariser'):
            return {}
        known = self.loaded if self.spec.reference is None else self.spec.reference
        return {path: jnp.asarray(known[path]) for path in phase.trainable}

    def importance(self, phase: Phase) -> Flat:
        """Of the leaves that train, what previous tasks say, where a regulariser reads it."""
        if not self.plan.reads_importance:
            return {}
        known = self.spec.importance
        return {path: jnp.asarray(known[path]) for path in phase.trainable if path in known}

    @property
    def chosen(self) -> tuple[int, ...]:
        """Steps at which choices have been made."""
        return tuple(choice.step for choice in self.plan.choices)

    def chooses_at(self, step: int) -> bool:
        """Whether the plan's strategy looks at the data before a step.

        A run that goes on under another plan may be past its first choice: it is made at once.
        """
        if not self.plan.choices:
            return bool(self.plan.choose_at) and step >= self.plan.choose_at[0]
        return step in self.plan.choose_at and step not in self.chosen

    def choose(self, probe: Probe, step: int) -> None:
        """Lets the plan's strategy look; `enter` then moves to the phase that it makes."""
        term = self.plan.term('data_driven')
        assert term is not None
        self.plan = self.plan.with_choice(term(self.plan.net, probe, self.plan.choices, step))

    def still(self) -> tuple[str, ...]:
        """Trainable leaves that are bitwise as they were loaded, and not for want of a rate."""
        return tuple(
            path
            for path, leaf in on_host(self.state.trainable).items()
            if path in self.loaded
            and self.phase.leaves[path].multiplier > SLOW
            and np.array_equal(leaf, self.loaded[path])
        )

    def step(self, start: str | None = None) -> TrainStep:
        """The training step of the present phase."""
        return self.spec.train_step(self.phase, start)

    def current(self, averaged: bool = True) -> Variables:
        """The network's variables as they are now; frozen leaves with the values they came with."""
        kept = self.frozen.replace(params={**self.frozen.params, **self.masters})
        return variables_of(self.state, kept, averaged=averaged)

    def as_trained(self, averaged: bool = True) -> Variables:
        """As `current`, with frozen leaves as the device holds them: what a step computes with."""
        return variables_of(self.state, self.frozen, averaged=averaged)

    def changed_copies(self) -> tuple[str, ...]:
        """Frozen leaves whose rounded copy on the device is not that of their value; of none."""
        held = on_host({path: self.frozen.params[path] for path in self.masters})
        return tuple(
            f'params/{path} (its {copy.dtype} copy)'
            for path, copy in held.items()
            if np.asarray(copy).tobytes() != self.masters[path].astype(copy.dtype).tobytes()
        )
