"""Our side: the steps that `fit` makes, by its programs, from its streams and its cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


class FitSteps:
    """A fine-tuning on data in memory that has entered its first phase."""

    def __init__(
        self,
        network: Any,
        variables: Any,
        freeze: str,
        data: Any,
        preprocessing: Any,
        batch: int,
        *,
        cached: bool = False,
        longest: int | None = None,
        head_is_new: bool = True,
        train: Mapping[str, Any] | None = None,
    ):
        """`longest`: most steps of a call; None for those of `fit`. `train`: other settings."""
        from ftjax.freezing.plan.plan import make_plan
        from ftjax.freezing.settings import as_settings
        from ftjax.freezing.strategies.adapters import with_adapters
        from ftjax.optim.optimizer import OptimizerSettings
        from ftjax.training.feature_cache.sources import Sources
        from ftjax.training.settings import TrainSettings
        from ftjax.training.step.multi_step import MultiStep
        from ftjax.training.step.phase_state import PhaseState
        from ftjax.training.step.run_spec import RunSpec

        network, variables = with_adapters(as_settings(freeze), network, variables)
        plan = make_plan(freeze, network, variables, head_is_new=head_is_new)
        settings = TrainSettings(
            cache='on' if cached else 'off',
            eval_every=64.0,  # a multiple of the steps of a call
            **(train or {}),
        )
        self.spec = RunSpec(
            *(network, variables, plan, data),
            optimizer=OptimizerSettings(learning_rate=1e-3, weight_decay=0.01),
            settings=settings,
            preprocessing=preprocessing,
            batch_size=batch,
            eval_batch_size=8,
        )
        self.phase_state = phase_state = PhaseState(self.spec)
        phase_state.enter(0)
        self.source = Sources(self.spec).of(phase_state, 0)
        # As a run has them: convolutions keep to one step a call unless `train` says another.
        calls = self.spec.steps_per_call(self.source.start)
        self.chunk = calls if longest is None else min(calls, longest)
        self.run = MultiStep(phase_state.step(self.source.start))
        self.known: Any = None
        self.losses: Any = None

    @property
    def trainable(self) -> int:
        """Parameters that train."""
        return self.phase_state.phase.size(trainable_only=True)

    @property
    def size(self) -> int:
        """Parameters of the network."""
        return self.phase_state.phase.size()

    def steps(self, count: int) -> int:
        """Runs at least so many steps, in whole calls; how many it were."""
        made = 0
        while made < count:
            self.call()
            made += self.chunk
        return made

    def call(self) -> None:
        """One call, as `StepRunner` makes it: batches in, losses and norms out."""
        from ftjax.data.text.stacked_batches import stacked
        from ftjax.training.loop.step_runner import model_inputs
        from ftjax.xla.program_cache import program

        phase_state, sharding, count = self.phase_state, self.phase_state.sharding, self.chunk
        group = [next(self.source.batches) for _ in range(count)]
        rates = np.full((count, len(phase_state.phase.trainable)), 1e-3, np.float32)
        batch = stacked([model_inputs(one) for one in group], self.spec.preprocessing)
        batch = sharding.batch(batch, axis=1, size=len(group[0]['index']))
        arguments = (
            phase_state.state,
            phase_state.frozen,
            batch,
            *sharding.copied((rates, np.int32(0))),
        )
        places = (
            (sharding.of_state(phase_state.state), sharding.whole) if sharding.devices > 1 else None
        )
        self.known = program(self.run, *arguments, donate=(0,), places=places)
        phase_state.state, metrics = self.known.call(*arguments)
        self.losses = losses = np.asarray(metrics['loss'])
        if not np.isfinite(losses).all():
            raise FloatingPointError(f'a loss of the benchmark is no number: {losses}')

    @property
    def flops(self) -> float:
        """Of a step, as compiled; of a call's loop the compiler counts the body once."""
        from ftjax.xla.cost_analysis import flops_of

        return flops_of(self.known.call)

    @property
    def peak_bytes(self) -> int:
        """What a call takes at most: its arguments, results and what lies between."""
        memory = self.known.call.memory_analysis()
        parts = ('argument_size', 'output_size', 'temp_size')
        total = sum(getattr(memory, f'{part}_in_bytes', 0) for part in parts)
        return int(total - getattr(memory, 'alias_size_in_bytes', 0))
