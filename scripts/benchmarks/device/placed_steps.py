"""Our side on a device: the compiled program of a run's steps, on batches that lie there."""

from __future__ import annotations

import time
from typing import Any

import numpy as np


class PlacedSteps:
    """The steps that `fit` runs in one call, of the first phase, on one call's batches.

    Args:
      network, variables: variables on the host, as a checkpoint gives them.
      freeze: `config.freeze`.
      batch: of one step, on the host: 'inputs', 'labels' and 'mask'.
      task, preprocessing: as `config.data.task`, and of the network.
      calls: steps of one call.
      remat: as `config.train.remat`.
      options: of the compiler, for this program.
    """

    def __init__(
        self,
        network: Any,
        variables: Any,
        freeze: Any,
        batch: dict[str, Any],
        *,
        task: str = '',
        preprocessing: Any = None,
        calls: int = 8,
        remat: bool = False,
        options: dict[str, Any] | None = None,
    ):
        import jax

        from ftjax.data.labels import DEFAULT_TASK
        from ftjax.freezing.plan.plan import make_plan
        from ftjax.freezing.settings import as_settings
        from ftjax.freezing.strategies.adapters import with_adapters
        from ftjax.optim.optimizer import OptimizerSettings
        from ftjax.training.cost.memory import measured, step_arguments
        from ftjax.training.settings import TrainSettings
        from ftjax.training.step.multi_step import MultiStep
        from ftjax.training.step.phase_state import PhaseState
        from ftjax.training.step.run_spec import RunSpec

        network, variables = with_adapters(as_settings(freeze), network, variables)
        self.plan = make_plan(freeze, network, variables)
        self.network, self.calls = network, calls
        spec = RunSpec(
            *(network, variables, self.plan),
            optimizer=OptimizerSettings(learning_rate=1e-3, weight_decay=0.01),
            settings=TrainSettings(remat=remat),
            preprocessing=preprocessing,
            task_without_data=task or DEFAULT_TASK,
        )
        self.phase_state = phase_state = PhaseState(spec)
        phase_state.enter(0)
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), batch)
        held, _ = step_arguments(spec, phase_state.phase, calls, shapes)
        stacked = jax.tree.map(lambda x: np.stack([x] * calls), batch)
        rates = np.full((calls, len(phase_state.phase.trainable)), 1e-4, np.float32)
        self.rest = jax.device_put((stacked, rates, np.int32(0)))
        began = time.perf_counter()
        lowered = jax.jit(MultiStep(phase_state.step()), donate_argnums=0).lower(
            phase_state.state, phase_state.frozen, *self.rest
        )
        self.program = lowered.compile(compiler_options=options or {})
        self.compile_seconds = time.perf_counter() - began
        # What `plan.py` forecasts for the same program, which it compiles for shapes alone.
        self.forecast = measured(self.program, held, held['trainable parameters']).total
        self.losses = np.zeros(0)

    @property
    def sizes(self) -> tuple[int, int]:
        """(parameters, those that train)."""
        return self.phase_state.phase.size(), self.phase_state.phase.size(trainable_only=True)

    def steps(self, count: int) -> int:
        """Runs at least so many steps, in whole calls, and waits for them; how many it were."""
        made, metrics = 0, {}
        while made < max(count, 1):
            self.phase_state.state, metrics = self.program(
                self.phase_state.state, self.phase_state.frozen, *self.rest
            )
            made += self.calls
        self.losses = np.asarray(metrics['loss'])
        if not np.isfinite(self.losses).all():
            raise FloatingPointError(f'a loss is not finite: {self.losses}')
        return made


def made_variables(network: Any) -> dict[str, Any]:
    """Variables of a network on the host, random, without compiling its initialisers."""
    import jax

    shapes = jax.eval_shape(network.init, jax.random.key(0), network.example_input())
    numbers = np.random.default_rng(0).standard_normal(2**20).astype(np.float32) * 0.02

    def fill(keys: Any, leaf: Any) -> np.ndarray:
        name = keys[-1].key
        if name in ('scale', 'var'):
            return np.ones(leaf.shape, leaf.dtype)
        if name in ('bias', 'mean'):
            return np.zeros(leaf.shape, leaf.dtype)
        return np.resize(numbers, leaf.shape).astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, shapes)


def peak_bytes() -> int:
    """Most bytes that JAX has held on the first device since the process began; 0 if unknown."""
    import jax

    return int((jax.local_devices()[0].memory_stats() or {}).get('peak_bytes_in_use', 0))
