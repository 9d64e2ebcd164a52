"""A built NNX model in parts: what each stage runs, and which leaves it owns or shares."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from ftjax.errors import UserError, shown

Path = tuple[Any, ...]
"""Of a variable in an NNX graph; keys of lists are numbers."""
Stage = str | Sequence[str] | Callable[..., Any]
"""What a stage runs: a module's path, several in a row, or a function (model, x) of the model.
A function, or a module's `__call__`, that has an argument `rngs` is given the run's."""
Run = Callable[[Any, Any, nnx.Rngs], Any]
STACKED = re.compile(r'(.*)\[(\d+)\]')


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

    def merged(self, values: Mapping[Path, Any]) -> Any:
        """The module with values; what is not among them cannot be read."""
        flat = [(path, filled(each, values.get(path))) for path, each in self.templates.items()]
        return nnx.merge(self.graphdef, nnx.from_flat_state(flat))


def filled(template: Any, value: Any) -> Any:
    """A variable with a value, or with its shape alone."""
    if not isinstance(template, nnx.Variable):
        return template if value is None else value
    return template if value is None else template.replace(value)


def emptied(variable: Any) -> Any:
    """A variable that knows its shape and dtype alone."""
    if not isinstance(variable, nnx.Variable):
        return jax.ShapeDtypeStruct(variable.shape, variable.dtype)
    value = variable.get_value()
    return variable.replace(jax.ShapeDtypeStruct(value.shape, value.dtype))


def value_of(variable: Any) -> Any:
    """The array in a variable."""
    return variable.get_value() if isinstance(variable, nnx.Variable) else variable


def kind_of(variable: Any) -> str:
    """What a variable is to a run."""
    if isinstance(variable, nnx.Param):
        return 'params'
    if isinstance(variable, nnx.BatchStat):
        return 'batch_stats'
    return 'random' if isinstance(variable, nnx.RngState) else 'constant'


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

    def in_turn(model: Any, x: Any, rngs: nnx.Rngs) -> Any:
        for path in paths:
            x = call(follow(model, path, stage), x, rngs)
        return x

    return opened_as(stage, in_turn, model, (), True, any(map(takes_rngs, modules)))


def call(module: Any, x: Any, rngs: nnx.Rngs) -> Any:
    """What a stage that is a module runs."""
    return module(x, rngs=rngs) if takes_rngs(module) else module(x)


def takes_rngs(function: Any) -> bool:
    """Whether a module or function has an argument `rngs` of its call."""
    try:
        return 'rngs' in inspect.signature(function).parameters
    except (TypeError, ValueError):  # of something that is not written in Python
        return False


def opened_as(stage: str, run: Run, module: Any, place: tuple, whole: bool, draws: bool) -> Opened:
    """A module's variables; those of the layer `place[1]` of a stack, where there is one."""
    graphdef, state = nnx.split(module)
    variables = dict(nnx.to_flat_state(state))
    live = {path: each for path, each in nnx.iter_graph(module) if path in variables}
    identities = {path: id(live.get(path, each)) for path, each in variables.items()}
    if place:
        variables = {path: layer_of(stage, x, place[1]) for path, x in variables.items()}
        identities = {path: (each, place[1]) for path, each in identities.items()}
    return Opened(stage, run, graphdef, variables, identities, whole, draws)


def layer_of(stage: str, variable: Any, index: int) -> Any:
    """The variable of one layer of a stack."""
    value = value_of(variable)
    if value.ndim == 0:
        return variable
    if index >= len(value):
        raise UserError(f'stage {stage!r}: layer [{index}] of a stack of {len(value)} layers')
    return filled(variable, value[index])


def follow(model: Any, path: str, stage: str) -> Any:
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


def hint(found: Any, path: str, word: str) -> str:
    """What may have been meant by a path that leads nowhere."""
    if word.isdigit() and isinstance(found, nnx.Module):
        lengths = {value_of(x).shape[:1] for x in jax.tree.leaves(nnx.state(found, nnx.Param))}
        if len(lengths) == 1 and lengths != {()}:
            before = path.removesuffix(f'.{word}')
            return (
                f': {before} is one module whose leaves are stacks of {lengths.pop()[0]} layers '
                f'(nnx.scan, nnx.vmap); write {before}[{word}] for one of them'
            )
    if isinstance(found, Sequence | nnx.List):
        return f'; there are {len(found)}'
    names = [name for name in vars(found) if not name.startswith('_')]
    return f'; {type(found).__name__} has {", ".join(names[:12])}'


def used_paths(part: Opened, x: Any) -> tuple[set[Path], Any]:
    """Paths of the variables that a stage reads, and what it returns: shapes alone."""
    wanted = {p: v for p, v in part.variables.items() if kind_of(v) in ('params', 'batch_stats')}
    rest = {p: value_of(v) for p, v in part.variables.items() if p not in wanted}
    shapes = {
        p: jax.ShapeDtypeStruct(value_of(v).shape, value_of(v).dtype) for p, v in wanted.items()
    }
    places, order = list(shapes), list(shapes.values())

    def run(values: list[Any], x: Any) -> Any:
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


def described(x: Any) -> str:
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


def split_model(
    model: nnx.Module, stages: Mapping[str, Stage], example: Any
) -> tuple[list[Part], dict[str, Any], Any]:
    """(a part for each stage, leaves by 'collection/stage/..', shape of the output).

    Raises:
      UserError: a stage leads nowhere, does not run on what the stage before it returns, or a
        parameter of the model is used by no stage.
    """
    if not isinstance(model, nnx.Module):
        raise UserError(f'from_nnx: expected a built nnx.Module, not {shown(model)}')
    x = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), example)
    owners: dict[Any, str] = {}
    leaves: dict[str, Any] = {}
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
            used |= {p for p, v in opened.variables.items() if kind_of(v) in leaves_kinds}
        slots = slots_of(opened, used, owners, leaves)
        templates = {path: emptied(v) for path, v in opened.variables.items()}
        made = (name, opened.run, opened.graphdef, templates, slots, takes, last, opened.draws)
        parts.append(Part(*made))
        x, takes = out, (jax.Array if hasattr(out, 'shape') else dict)
    check_all_used(model, stages, owners)
    return parts, leaves, x


leaves_kinds = ('params', 'batch_stats')


def slots_of(
    part: Opened, used: set[Path], owners: dict[Any, str], leaves: dict[str, Any]
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
    stacks: dict[Any, set[int]] = {}
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
