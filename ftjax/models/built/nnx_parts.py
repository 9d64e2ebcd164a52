"""A built NNX model in parts: what each stage runs, and which leaves it owns or shares."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from ftjax.errors import UserError, shown
from ftjax.models.built.nnx_opened import Opened, described, follow, open_stage, used_paths
from ftjax.models.built.nnx_variables import (
    LEAF_KINDS,
    STACKED,
    Path,
    Run,
    Stage,
    emptied,
    filled,
    kind_of,
    value_of,
)
from ftjax.pytrees import Flat


@dataclasses.dataclass(frozen=True)
class Slot:
    """One variable of a part, and where its value comes from at each call."""

    path: Path
    kind: str
    """`params`, `batch_stats`, `random` (drawn for each call), `constant`, or `absent`."""
    key: str = ''
    """Leaf below the stage, 'attn/query/kernel'; of a tied one the path below params."""
    tied: bool = False
    """Whether an earlier stage owns it."""
    value: Any = None
    """Of a constant."""


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """What one stage runs: a function of the module that a graph definition and values make."""

    stage: str
    run: Run
    graphdef: Any
    templates: Mapping[Path, Any]
    """The variables without their values."""
    slots: tuple[Slot, ...] = ()
    takes: type = jax.Array
    """Array, or dict, as the stage before returns it."""
    last: bool = False
    draws: bool = False
    """Whether what it runs takes random keys."""
    build: Callable[..., nnx.Module] | None = None
    """Makes the module with random weights: `build(rngs=..)`; None where it came with its own."""

    def merged(self, values: Mapping[Path, object]) -> Any:
        """The module with values; what is not among them cannot be read."""
        flat = [(path, filled(each, values.get(path))) for path, each in self.templates.items()]
        return nnx.merge(self.graphdef, nnx.from_flat_state(flat))


def split_model(
    model: nnx.Module, stages: Mapping[str, Stage], example: object
) -> tuple[list[Part], Flat, object]:
    """(a part for each stage, leaves by 'collection/stage/..', shape of the output).

    Raises:
      UserError: a stage leads nowhere, does not run on what the stage before it returns, or a
        parameter of the model is used by no stage.
    """
    if not isinstance(model, nnx.Module):
        raise UserError(f'from_nnx: expected a built nnx.Module, not {shown(model)}')
    x = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), example)
    owners: dict[object, str] = {}
    leaves: Flat = {}
    parts: list[Part] = []
    takes: type = jax.Array
    for number, (name, what) in enumerate(stages.items()):
        opened = open_stage(model, name, what)
        used, out = used_paths(opened, x)
        last = number == len(stages) - 1
        if not last and not (hasattr(out, 'shape') or (isinstance(out, dict) and 'hidden' in out)):
            raise UserError(
                f'stage {name!r} returns {type(out).__name__}; expected an array, or a dict of '
                "arrays with 'hidden' among them"
            )
        if not opened.whole:
            used |= {p for p, v in opened.variables.items() if kind_of(v) in LEAF_KINDS}
        slots = slots_of(opened, used, owners, leaves)
        templates = {path: emptied(v) for path, v in opened.variables.items()}
        made = (name, opened.run, opened.graphdef, templates, slots, takes, last, opened.draws)
        parts.append(Part(*made))
        x, takes = out, (jax.Array if hasattr(out, 'shape') else dict)
    check_all_used(model, stages, owners)
    return parts, leaves, x


def slots_of(
    part: Opened, used: set[Path], owners: dict[object, str], leaves: Flat
) -> tuple[Slot, ...]:
    """The slots of a part; what it owns is added to `owners` and `leaves`."""
    own = [p for p in used if part.identities[p] not in owners]
    cut = common(own) if part.whole else 0
    found = []
    for path, variable in part.variables.items():
        kind, identity = kind_of(variable), part.identities[path]
        if kind == 'random':
            found.append(Slot(path, kind))
        elif kind == 'constant':
            found.append(Slot(path, kind, value=value_of(variable)))
        elif path not in used:
            found.append(Slot(path, 'absent'))
        elif identity in owners:
            found.append(Slot(path, kind, owners[identity], tied=True))
        else:
            key = '/'.join(map(str, path[cut:]))
            owners[identity] = f'{part.stage}/{key}'
            leaves[f'{kind}/{part.stage}/{key}'] = value_of(variable)
            found.append(Slot(path, kind, key))
    return tuple(found)


def common(paths: Sequence[Path]) -> int:
    """How many first keys all paths share, beside the last key of each."""
    if not paths:
        return 0
    first, count = paths[0][:-1], 0
    for number, key in enumerate(first):
        if any(path[:-1][number : number + 1] != (key,) for path in paths):
            break
        count = number + 1
    return count


def check_all_used(model: nnx.Module, stages: Mapping[str, Stage], owners: Mapping) -> None:
    """UserError for a parameter that no stage uses: it would be lost."""
    stacks: dict[object, set[int]] = {}
    for identity in owners:
        if isinstance(identity, tuple):
            stacks.setdefault(identity[0], set()).add(identity[1])
    for path, variable in nnx.iter_graph(model):
        if not isinstance(variable, nnx.Param) or id(variable) in owners:
            continue
        name, layers = '.'.join(map(str, path)), stacks.get(id(variable))
        if layers is None:
            raise UserError(
                f'{name} of {type(model).__name__} is used by no stage ({", ".join(stages)}); '
                'name the module that holds it in one of them'
            )
        missing = sorted(set(range(len(value_of(variable)))) - layers)
        if missing:
            raise UserError(f'layer [{missing[0]}] of {name} is in no stage; name it in one')


def write_part(model: nnx.Module, what: Stage, part: Part, leaves: Mapping[str, Any]) -> None:
    """Puts the leaves of a stage into the variables of a live model."""
    stacked = STACKED.fullmatch(what) if isinstance(what, str) else None
    root: Any = model
    if isinstance(what, str):
        found = follow(model, stacked[1] if stacked else what, part.stage)
        root = found if isinstance(found, nnx.Module) else model
    for slot in part.slots:
        value = leaves.get(f'{slot.kind}/{part.stage}/{slot.key}')
        if slot.tied or value is None:
            continue
        holder = root
        for key in slot.path[:-1]:
            holder = holder[key] if isinstance(key, int) else getattr(holder, key)
        last = slot.path[-1]
        variable = holder[last] if isinstance(last, int) else getattr(holder, last)
        if stacked:
            value = variable.get_value().at[int(stacked[2])].set(value)
        elif last == 'kernel' and isinstance(holder, nnx.Linear):
            holder.out_features = int(value.shape[-1])
        variable.set_value(jnp.asarray(value))


def outputs_of(out: Any) -> int:
    """How many outputs a network has."""
    if not hasattr(out, 'shape') or len(out.shape) < 2:
        raise UserError(f'the last stage returns {described(out)}; expected (batch, outputs)')
    return int(jnp.shape(out)[-1])
