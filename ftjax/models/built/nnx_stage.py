"""A stage that is part of a built NNX model: a linen module that merges, runs and splits it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

from ftjax.errors import UserError
from ftjax.leaves import flatten, unflatten
from ftjax.models.adapters.adapter import adapters_act
from ftjax.models.built.nnx_layers import through_adapters
from ftjax.models.built.nnx_opened import set_mode
from ftjax.models.built.nnx_parts import Part, Slot
from ftjax.models.built.nnx_variables import Path
from ftjax.models.stages import Mode


class NNXStage(nn.Module):
    """Runs a part with the leaves that this stage of the variables holds; pure, as all stages.

    Modes are those of NNX, `train()` and `eval()`; random keys come from the run's own, anew for
    each call; BatchNorm's statistics are the collection `batch_stats`.
    """

    part: Part
    dtype: str | None = None
    """What its layers compute in; None for what they were built with."""
    shapes: Mapping[str, tuple[int, ...]] | None = None
    """Shapes of leaves that are not the model's own: those of a head for other classes."""

    def __call__(self, state: object, mode: Mode) -> Any:
        part = self.part
        if self.is_initializing():
            self.initialise()
        own = flatten(self.variables)
        module = part.merged({slot.path: self.value(slot, own, mode) for slot in part.slots})
        set_mode(module, mode.deterministic, mode.batch_stats)
        if self.dtype is not None:
            module.set_attributes(dtype=jnp.dtype(self.dtype), raise_if_not_found=False)
        if adapters_act():
            keys = {s.path: s.key for s in part.slots if s.kind == 'params' and not s.tied}
            through_adapters(module, self.scope, keys)
        alone = part.takes is jax.Array and isinstance(state, Mapping) and set(state) == {'hidden'}
        out = part.run(module, state['hidden'] if alone else state, self.rngs(mode))
        if mode.batch_stats and self.is_mutable_collection('batch_stats'):
            self.keep_statistics(module)
        if part.last:
            return out.astype(jnp.float32)
        return out if isinstance(out, dict) else {'hidden': out}

    def value(self, slot: Slot, own: Mapping[str, object], mode: Mode) -> Any:
        """What a variable holds in this call; None for one that is not read."""
        if slot.kind == 'constant':
            return slot.value
        if slot.kind == 'random':
            return self.random(slot, mode)
        if slot.tied:
            return self.shared(slot)
        return own[f'{slot.kind}/{slot.key}'] if slot.kind != 'absent' else None

    def rngs(self, mode: Mode) -> nnx.Rngs:
        """What a call that takes random keys is given."""
        noisy = self.part.draws and not mode.deterministic
        return nnx.Rngs(self.make_rng('dropout') if noisy else 0)

    def random(self, slot: Slot, mode: Mode) -> object:
        """A counter at 0; a key of the variable's own, drawn for this call."""
        if issubclass(type(self.part.templates[slot.path]), nnx.RngCount):
            return jnp.zeros((), jnp.uint32)
        key = jax.random.key(0) if mode.deterministic else self.make_rng('dropout')
        number = list(self.part.templates).index(slot.path)
        return jax.random.fold_in(key, number)

    def shared(self, slot: Slot) -> object:
        """A leaf of an earlier stage, read from the variables that the run was given."""
        above: Any = self.scope.parent if self.scope else None
        found: Any = above.variables() if above else {}
        for key in (slot.kind, *slot.key.split('/')):
            if key not in found:
                if self.is_initializing():
                    return unknown(self.template(slot.path))
                raise UserError(f'stage {self.name!r} reads {slot.key}, which is not there')
            found = found[key]
        return found

    def template(self, path: Path) -> Any:
        """Shape and dtype of a variable as the model was built with it."""
        found = self.part.templates[path]
        return found.get_value() if isinstance(found, nnx.Variable) else found

    def initialise(self) -> None:
        """Declares the leaves. The model's own are NaN: NNX keeps no initialisers."""
        built: Mapping[Path, Any] = {}
        if self.part.build is not None:
            module = self.part.build(rngs=nnx.Rngs(self.make_rng('params')))
            built = dict(nnx.to_flat_state(nnx.state(module)))
        for kind in ('params', 'batch_stats'):
            made = {}
            for slot in self.part.slots:
                if slot.kind == kind and not slot.tied:
                    own = built.get(slot.path)
                    made[slot.key] = self.drawn(slot) if own is None else own.get_value()
            for name, leaves in unflatten(made).items():
                self.put_variable(kind, name, leaves)

    def drawn(self, slot: Slot) -> object:
        """A leaf of a new head, drawn as `Head` of ftjax draws it; NaN for one of the model's."""
        template = self.template(slot.path)
        shape = (self.shapes or {}).get(slot.key)
        if shape is None:
            return unknown(template)
        if len(shape) == 1:
            return jnp.zeros(shape, template.dtype)
        return nn.initializers.normal(0.01)(self.make_rng('params'), shape, template.dtype)

    def keep_statistics(self, module: object) -> None:
        """Puts what the call made of the running statistics into the collection."""
        now = dict(nnx.to_flat_state(nnx.state(module, nnx.BatchStat)))
        kept = {s.key: s for s in self.part.slots if s.kind == 'batch_stats' and not s.tied}
        found = {key: now[slot.path].get_value() for key, slot in kept.items()}
        for name, leaves in unflatten(found).items():
            self.put_variable('batch_stats', name, leaves)


def unknown(template: Any) -> jax.Array:
    """NaN in the shape of a leaf; 0 where its dtype has none."""
    floats = jnp.issubdtype(template.dtype, jnp.floating)
    return jnp.full(template.shape, jnp.nan if floats else 0, template.dtype)
