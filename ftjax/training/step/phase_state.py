"""The phase state of a run through the phases of its plan: state, step and what is carried on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from ftjax.data.images.on_device import prepare
from ftjax.distributed.device_put import on_host
from ftjax.distributed.process_group import several
from ftjax.distributed.sharding import Sharding
from ftjax.freezing.gradient_probe import Probe
from ftjax.freezing.partition import Flat
from ftjax.freezing.plan.phase import Phase
from ftjax.freezing.plan.plan import Plan
from ftjax.models.stages import Network
from ftjax.optim.optimizer import OptimizerSettings, make_optimizer
from ftjax.training.step.phase_change import carried, masters_of, reinitialised
from ftjax.training.step.state import Frozen, TrainState, make_state, variables_of
from ftjax.training.step.train_step import make_train_step

SLOW = 1e-3
"""A leaf whose rate is this share of the common one may be as it was after a few steps."""


@dataclasses.dataclass(frozen=True)
class StepSettings:
    """What a step depends on besides network, phase and optimizer; part of a program's key."""

    preprocessing: Any = None
    augmentation: str = 'none'
    task: str = 'classification'
    label_smoothing: float = 0.0
    remat: bool = False


class PhaseState:
    """Where a run stands: its plan with the choices made so far, its phase, its state.

    `enter(step)` moves to the phase of a step: trees are partitioned anew, moments of leaves
    that stay are carried by path, leaves that open start as the plan's policy says, leaves
    that close keep their last values and lose their optimizer state.
    """

    def __init__(
        self,
        network: Network,
        variables: Mapping[str, Any],
        plan: Plan,
        optimizer: OptimizerSettings,
        settings: StepSettings,
        seed: int = 0,
        sharding: Sharding | None = None,
    ):
        average = plan.term('average')
        if average is not None:
            optimizer = dataclasses.replace(optimizer, ema=float(average()))
        self.network, self.plan, self.optimizer = network, plan, optimizer
        self.settings, self.seed, self.sharding = settings, seed, sharding or Sharding()
        self.record = any(t.details.record for t in plan.of_kind('data_driven'))
        self.loaded: Flat = flatten_dict(dict(variables['params']), sep='/')
        self.variables = variables
        self.phase: Phase = plan.base or plan.phases[0]
        self.entered = False
        self.former: dict[str, set[str]] = {'params': set(), 'stats': set()}
        """What trained under an earlier plan of the run: leaves, stages with statistics."""
        self.masters: Flat = {}
        """On the host, the values of the frozen leaves that the device holds rounded."""
        self.state: TrainState
        self.frozen: Frozen

    def prepared(self, inputs: Any) -> Any:
        """Inputs as the network takes them, without augmentation."""
        known = self.settings.preprocessing
        return inputs if known is None else prepare(inputs, known)

    def transformation(self, phase: Phase) -> Any:
        """The optimizer of a phase."""
        per_leaf = self.plan.per_leaf
        return make_optimizer(phase, self.optimizer, per_leaf=per_leaf, record=self.record)

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
            tx, reset = self.transformation(phase), self.plan.optimizer_state == 'reset'
            state, frozen = carried(self.state, variables, phase, tx, reset)
        self.stand(variables, phase, state, frozen)

    def with_new_values(self, variables: Mapping[str, Any], phase: Phase) -> Mapping[str, Any]:
        """Variables with the leaves that a phase begins anew at their random values."""
        return reinitialised(self.network, variables, phase.reinit, self.seed, phase.start)

    def started(self, variables: Mapping[str, Any], phase: Phase) -> tuple[TrainState, Frozen]:
        """State and frozen part of a phase that begins with some variables."""
        tx = self.transformation(phase)
        with self.sharding.making():  # before anything lies where the layout says
            return make_state(variables, phase, tx, self.optimizer.ema, self.seed)

    def stand(
        self, variables: Mapping[str, Any], phase: Phase, state: TrainState, frozen: Frozen
    ) -> None:
        """Lets the phase state stand in a phase: its parts, each where the layout says."""
        frozen = frozen.replace(entries=self.entries(phase), reference=self.reference(phase))
        self.masters = masters_of(variables, phase)
        self.state, self.frozen = self.sharding.place(state, frozen)
        self.phase, self.entered = phase, True

    def entries(self, phase: Phase) -> Flat:
        """Masks of single entries that the last choice made, for the leaves that train."""
        found = self.plan.choices[-1].entries if self.plan.choices else {}
        return {path: jnp.asarray(found[path]) for path in phase.trainable if path in found}

    def reference(self, phase: Phase) -> Flat:
        """The loaded values of the leaves that train, where a regulariser reads them."""
        if not self.plan.of_kind('regulariser'):
            return {}
        return {path: jnp.asarray(self.loaded[path]) for path in phase.trainable}

    @property
    def chosen(self) -> tuple[int, ...]:
        """Steps at which choices have been made."""
        return tuple(choice.step for choice in self.plan.choices)

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

    def step(self, start: str | None = None, tx: Any = None) -> Any:
        """The training step of the present phase, to be jitted; `start` as make_train_step.

        `tx` stands in for the phase's optimizer.
        """
        return make_train_step(
            self.network,
            self.phase,
            self.optimizer,
            **{f.name: getattr(self.settings, f.name) for f in dataclasses.fields(self.settings)},
            regularisers=self.plan.of_kind('regulariser'),
            unregularised=self.plan.new_leaves,
            tx=tx or self.transformation(self.phase),
            start=start,
            sharding=self.sharding,
        )

    def key(self, start: str | None = None) -> tuple:
        """All that the compiled step depends on besides its arguments' shapes."""
        # The rate is an argument of the step, so the program does not depend on it.
        optimizer = dataclasses.replace(self.optimizer, learning_rate=1.0)
        regularisers = tuple(term.key for term in self.plan.of_kind('regulariser'))
        kind = self.plan.per_leaf, self.record, self.plan.new_leaves if regularisers else None
        program = self.phase.program
        if noiseless(self.network):  # stages run alike with noise on or off
            modes = tuple((name, mode.batch_stats) for name, mode in self.phase.modes.items())
            program = (program[0], modes, *program[2:])
        return (
            self.network,
            program,
            optimizer,
            self.settings,
            regularisers,
            kind,
            start,
            self.sharding,
        )

    def current(self, averaged: bool = True) -> dict[str, Any]:
        """The network's variables as they are now; frozen leaves with the values they came with."""
        kept = self.frozen.replace(params={**self.frozen.params, **self.masters})
        return variables_of(self.state, kept, averaged=averaged)

    def as_trained(self, averaged: bool = True) -> dict[str, Any]:
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


def noiseless(network: Network) -> bool:
    """Whether no stage of a network has dropout or stochastic depth."""
    return not (getattr(network, 'dropout', 1) or getattr(network, 'drop_path', 1))
