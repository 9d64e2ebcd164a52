"""Device memory of a run, before it: of its programs compiled for shapes, by what holds it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from ftjax.evaluation.predict import Forward
from ftjax.freezing.plan.phase import Phase
from ftjax.pytrees import Batch, Tree
from ftjax.training.step.multi_step import MultiStep
from ftjax.training.step.run_spec import RunSpec, batch_shapes
from ftjax.training.step.state import make_state, variables_of


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes on one device while a program runs."""

    held: Mapping[str, int]
    """By what they hold, from shapes: what the program takes as arguments."""
    gradients: int
    """Of those in `temporary`, from shapes."""
    temporary: int
    """As the compiler lays it out: gradients, activations, workspace."""
    outputs: int
    """What comes back and is not written over arguments."""

    @property
    def total(self) -> int:
        """Arguments, outputs and temporary memory at their highest."""
        return sum(self.held.values()) + self.temporary + self.outputs

    @property
    def resident(self) -> int:
        """What stays on the device between two calls: all arguments but the batch."""
        return sum(size for name, size in self.held.items() if name != 'batch')

    @property
    def rows(self) -> dict[str, int]:
        """All of it, in the order in which people read it."""
        rest = max(self.temporary - self.gradients, 0)
        inside = {'gradients': self.temporary - rest, 'activations, workspace': rest}
        return {
            name: n for name, n in {**self.held, **inside, 'outputs': self.outputs}.items() if n
        }


def step_memory(
    spec: RunSpec,
    phase: Phase,
    steps: int = 1,
    start: str | None = None,
    batch: Batch | None = None,
) -> Memory:
    """Of the program that runs so many steps of a phase in one call; nothing is allocated.

    Steps that start at stored features take less than those from raw inputs.

    Args:
      spec: of the run.
      phase: of its plan.
      steps: of one call.
      start: the phase's cut, of steps that start at stored features; None for raw inputs.
      batch: shapes of what such steps take; None for the run's own.
    """
    held, arguments = step_arguments(spec, phase, steps, batch)
    sharding, places = spec.sharding, None
    if sharding.devices > 1:
        places = sharding.of_state(arguments[0]), sharding.whole
    run = MultiStep(spec.train_step(phase, start))
    compiled = jax.jit(run, donate_argnums=0, out_shardings=places).lower(*arguments).compile()
    return measured(compiled, held, held['trainable parameters'])


def least_memory(spec: RunSpec, phase: Phase, steps: int = 1) -> int:
    """Bytes that the steps of a phase need whatever the compiler does: arguments and gradients.

    From shapes alone, in a moment; arguments as of step_memory.
    """
    held, _ = step_arguments(spec, phase, steps)
    return sum(held.values()) + held['trainable parameters']


def step_arguments(
    spec: RunSpec, phase: Phase, steps: int | None = None, batch: Batch | None = None
) -> tuple[dict[str, int], tuple]:
    """(bytes on a device by what holds them, the arguments of a call as shapes).

    A call of so many steps, with batches and rates stacked on a leading axis; None for one step
    by itself, whose arguments have no such axis. `batch` are shapes in place of the run's own.
    """
    several = () if steps is None else (steps,)
    sharding, tx = spec.sharding, spec.train_step(phase).tx
    state, frozen = jax.eval_shape(
        lambda v: make_state(v, phase, tx, spec.step_optimizer.ema), spec.variables
    )
    if spec.plan.of_kind('regulariser'):
        frozen = frozen.replace(reference=dict(state.trainable))
    if spec.plan.reads_importance:
        known = {p: x for p, x in state.trainable.items() if p in spec.importance}
        frozen = frozen.replace(importance=known)
    stacked = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((*several, *x.shape), x.dtype), batch or spec.batch_shapes
    )
    rates = jax.ShapeDtypeStruct((*several, len(phase.trainable)), np.float32)
    left = jax.ShapeDtypeStruct((), np.int32)
    if sharding.devices > 1:
        state = placed(state, sharding.of_state(state))
        frozen = placed(frozen, sharding.of_frozen(frozen))
        stacked = placed(
            stacked, jax.tree.map(lambda _: sharding.examples(axis=len(several)), stacked)
        )
    held = {
        'trainable parameters': size_of(state.trainable),
        'frozen parameters': size_of(frozen.params),
        'optimizer state': size_of(state.opt_state),
        'averages': size_of(state.ema),
        'references': size_of((frozen.reference, frozen.importance)),
        'statistics': size_of((state.stats, frozen.stats)),
        'batch': size_of(stacked),
    }
    return held, (state, frozen, stacked, rates, left)


def validation_memory(spec: RunSpec, phase: Phase) -> Memory:
    """While a split is evaluated: the forward pass, and all that stays on the device meanwhile."""
    held, (state, frozen, *_) = step_arguments(spec, phase, 1)
    batches = spec.validation
    inputs = batch_shapes(batches.loader, batches.batch_size)['inputs']
    if spec.sharding.devices > 1:
        inputs = placed(inputs, jax.tree.map(lambda _: spec.sharding.examples(), inputs))
    run = Forward(spec.network, spec.preprocessing, None, spec.sharding)
    compiled = jax.jit(run).lower(variables_of(state, frozen), inputs).compile()
    return measured(compiled, {**held, 'batch': size_of(inputs)}, 0)


def measured(compiled: jax.stages.Compiled, held: Mapping[str, int], gradients: int) -> Memory:
    """A compiled program's temporary memory and outputs beside what it is given."""
    found = compiled.memory_analysis()
    assert found is not None
    outputs = found.output_size_in_bytes - found.alias_size_in_bytes
    temporary = int(found.temp_size_in_bytes)
    return Memory(held, min(gradients, temporary), temporary, max(int(outputs), 0))


def placed(tree: Tree, places: object) -> Tree:
    """Shapes with the shardings that their arrays will have."""
    return jax.tree.map(
        lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), tree, places
    )


def size_of(tree: object) -> int:
    """Bytes of a tree of shapes on one device."""
    total = 0
    for leaf in jax.tree.leaves(tree):
        place = getattr(leaf, 'sharding', None)
        shape = leaf.shape if place is None else place.shard_shape(leaf.shape)
        total += math.prod(shape) * jnp.dtype(leaf.dtype).itemsize
    return total
