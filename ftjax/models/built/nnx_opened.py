"""What a stage of a built NNX model runs: the modules it names, and the variables they read."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from typing import Any

import jax
from flax import nnx

from ftjax.errors import UserError, shown
from ftjax.models.built.nnx_variables import (
    LEAF_KINDS,
    STACKED,
    Path,
    Run,
    Stage,
    filled,
    kind_of,
    value_of,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Opened:
    """A part of the live model, before it is known which leaves are its own."""

    stage: str
    run: Run
    graphdef: Any
    variables: dict[Path, Any]
    identities: dict[Path, Any]
    """The same for two paths, of this part or of another, that hold one variable."""
    whole: bool
    """Whether it holds the whole model, of which it uses a part."""
    draws: bool
    """Whether it takes random keys."""


def open_stage(model: nnx.Module, stage: str, what: Stage) -> Opened:
    """The part of a model that a stage runs; UserError where there is no such module."""
    if isinstance(what, str):
        stacked = STACKED.fullmatch(what)
        if stacked and isinstance(attribute(model, stacked[1]), Sequence):
            what, stacked = f'{stacked[1]}.{int(stacked[2])}', None  # of a list: its own modules
        module = follow(model, stacked[1] if stacked else what, stage)
        if isinstance(module, nnx.Module):
            place = (id(module), int(stacked[2])) if stacked else ()
            return opened_as(stage, call, module, place, False, takes_rngs(module))
        what = (what,)
    if callable(what):
        takes = takes_rngs(what)

        def function(model: Any, x: Any, rngs: nnx.Rngs) -> Any:
            return what(model, x, rngs=rngs) if takes else what(model, x)

        return opened_as(stage, function, model, (), True, takes)
    paths = list(what)
    modules = [follow(model, path, stage) for path in paths]

    def in_turn(model: object, x: object, rngs: nnx.Rngs) -> object:
        for path in paths:
            x = call(follow(model, path, stage), x, rngs)
        return x

    return opened_as(stage, in_turn, model, (), True, any(map(takes_rngs, modules)))


def call(module: Any, x: object, rngs: nnx.Rngs) -> object:
    """What a stage that is a module runs."""
    return module(x, rngs=rngs) if takes_rngs(module) else module(x)


def takes_rngs(function: Any) -> bool:
    """Whether a module or function has an argument `rngs` of its call."""
    try:
        return 'rngs' in inspect.signature(function).parameters
    except (TypeError, ValueError):  # of something that is not written in Python
        return False


def opened_as(
    stage: str, run: Run, module: object, place: tuple, whole: bool, draws: bool
) -> Opened:
    """A module's variables; those of the layer `place[1]` of a stack, where there is one."""
    graphdef, state = nnx.split(module)
    variables = dict(nnx.to_flat_state(state))
    live = {path: each for path, each in nnx.iter_graph(module) if path in variables}
    identities = {path: id(live.get(path, each)) for path, each in variables.items()}
    if place:
        variables = {path: layer_of(stage, x, place[1]) for path, x in variables.items()}
        identities = {path: (each, place[1]) for path, each in identities.items()}
    return Opened(stage, run, graphdef, variables, identities, whole, draws)


def layer_of(stage: str, variable: object, index: int) -> object:
    """The variable of one layer of a stack."""
    value = value_of(variable)
    if value.ndim == 0:
        return variable
    if index >= len(value):
        raise UserError(f'stage {stage!r}: layer [{index}] of a stack of {len(value)} layers')
    return filled(variable, value[index])


def attribute(model: Any, path: str) -> object:
    """What an attribute path leads to, whatever it is; None where it leads nowhere."""
    found = model
    for word in path.split('.'):
        try:
            found = found[int(word)] if word.isdigit() else getattr(found, word)
        except (AttributeError, IndexError, KeyError, TypeError):
            return None
    return found


def follow(model: Any, path: str, stage: str) -> object:
    """What an attribute path leads to: 'encoder.layers.0'."""
    found = model
    for word in path.split('.'):
        try:
            found = found[int(word)] if word.lstrip('-').isdigit() else getattr(found, word)
        except (AttributeError, IndexError, KeyError, TypeError):
            raise UserError(
                f'stage {stage!r}: the model {type(model).__name__} has no {shown(path)}'
                f'{hint(found, path, word)}'
            ) from None
    if isinstance(found, nnx.Variable) or not callable(found):
        raise UserError(f'stage {stage!r}: {shown(path)} is a {type(found).__name__}, no module')
    return found


def hint(found: object, path: str, word: str) -> str:
    """What may have been meant by a path that leads nowhere."""
    if isinstance(found, Sequence):  # an nnx.List is a Module as well
        return f'; there are {len(found)}, from 0'
    if word.isdigit() and isinstance(found, nnx.Module):
        lengths = {value_of(x).shape[:1] for x in jax.tree.leaves(nnx.state(found, nnx.Param))}
        if len(lengths) == 1 and lengths != {()}:
            before = path.removesuffix(f'.{word}')
            return (
                f': {before} is one module whose leaves are stacks of {lengths.pop()[0]} layers '
                f'(nnx.scan, nnx.vmap); write {before}[{word}] for one of them'
            )
    names = [name for name in vars(found) if not name.startswith('_')]
    return f'; {type(found).__name__} has {", ".join(names[:12])}'


def used_paths(part: Opened, x: object) -> tuple[set[Path], object]:
    """Paths of the variables that a stage reads, and what it returns: shapes alone."""
    wanted = {p: v for p, v in part.variables.items() if kind_of(v) in LEAF_KINDS}
    rest = {p: value_of(v) for p, v in part.variables.items() if p not in wanted}
    shapes = {
        p: jax.ShapeDtypeStruct(value_of(v).shape, value_of(v).dtype) for p, v in wanted.items()
    }
    places, order = list(shapes), list(shapes.values())

    def run(values: list[object], x: object) -> Any:
        found = {**rest, **dict(zip(places, values, strict=True))}
        flat = [(path, filled(each, found[path])) for path, each in part.variables.items()]
        module = nnx.merge(part.graphdef, nnx.from_flat_state(flat))
        set_mode(module, True, False)
        return part.run(module, x, nnx.Rngs(0))

    try:
        traced, out = jax.make_jaxpr(run, return_shape=True)(order, x)
    except UserError:
        raise
    except Exception as error:
        reason = str(error).strip().split('\n')[0]
        raise UserError(
            f'stage {part.stage!r} does not run on what the stage before it returns '
            f'({described(x)}): {type(error).__name__}: {reason}'
        ) from error
    needed = {id(var) for var in traced.jaxpr.outvars}
    for equation in reversed(traced.jaxpr.eqns):
        if any(id(var) in needed for var in equation.outvars):
            needed |= {id(var) for var in equation.invars}
    used = {p for p, var in zip(places, traced.jaxpr.invars, strict=False) if id(var) in needed}
    return used, out


def described(x: object) -> str:
    """Shapes and dtypes, in a few words."""
    leaves = jax.tree.map(lambda leaf: f'{leaf.dtype}{list(leaf.shape)}', x)
    return leaves if isinstance(leaves, str) else ', '.join(jax.tree.leaves(leaves))


def set_mode(module: Any, deterministic: bool, batch_stats: bool) -> None:
    """As `train()` and `eval()` of NNX, noise and BatchNorm each by itself."""
    if deterministic:
        module.eval()
    else:
        module.train()
    if batch_stats == deterministic:
        nnx.Module.set_attributes(
            module, use_running_average=not batch_stats, raise_if_not_found=False
        )
