"""`from_linen`: a plain linen module with its weights as a network of stages."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax

from ftjax.errors import UserError, shown
from ftjax.leaves import flatten, unflatten
from ftjax.models.built.given import check_example, check_names, check_stages
from ftjax.models.built.network import Built, Shapes, Structure
from ftjax.models.built.trial import tried
from ftjax.models.stages import EVAL, ROLES, Mode
from ftjax.pytrees import Variables

Stage = str | Callable[..., Any]
"""A submodule's path, 'layers.0', of a module with `setup`; or (module, x) or (module, x, mode)."""


class LinenStage(nn.Module):
    """Runs a part of a module whose leaves lie below this stage under the module's own names."""

    within: Callable[[Any], nn.Module]
    """The module in a scope."""
    run: Callable[[Any, Any, Mode], Any]
    last: bool

    def __call__(self, state: object, mode: Mode) -> Any:
        alone = isinstance(state, Mapping) and set(state) == {'hidden'}
        x = state['hidden'] if alone else state
        out = self.run(self.within(self.scope), x, mode)
        if self.last:
            return out.astype('float32')
        return out if isinstance(out, dict) else {'hidden': out}


def from_linen(
    module: nn.Module,
    variables: Variables,
    stages: Mapping[str, Stage] | None,
    *,
    example: Any,
    preprocessing: object = None,
    class_names: Sequence[str] = (),
) -> Built:
    """A linen module that is no `Network`, its weights included, as a network of stages.

    Args:
      module: with the classes of the task: no new head is made for it.
      variables: {'params': .., 'batch_stats': ..}.
      stages: name -> what it runs, in depth order: the path of a submodule, of a module that has
        `setup`, or a function of the module. An argument `mode` gets the stage's Mode; of a path,
        `train`, `training`, `deterministic` and `use_running_average` follow from it (`train` is
        one flag for noise and for statistics: it is on where either is). None for a
        module that cannot be run in parts: it is one stage, `block_00`, so that strategies that
        choose leaves by name or rule work, and none by depth; nothing is cut off or stored.
      example: one batch of inputs.
      preprocessing, class_names: as in `from_nnx`.

    Raises:
      UserError: a stage that does not run, leaves of no stage, or of two.

    >>> class Two(nn.Module):
    ...     def setup(self):
    ...         self.body, self.top = nn.Dense(4), nn.Dense(2)
    ...
    ...     def __call__(self, x):
    ...         return self.top(self.body(x))
    >>> import jax.numpy as jnp
    >>> x, module = jnp.zeros((1, 3)), Two()
    >>> variables = module.init(jax.random.key(0), x)
    >>> built = from_linen(module, variables, {'block_00': 'body', 'head': 'top'}, example=x)
    >>> sorted(built.variables['params']['head'])
    ['top']
    """
    if not isinstance(module, nn.Module):
        raise UserError(f'from_linen: expected a linen module, not {shown(module)}')
    if stages is not None:
        check_stages(stages, 'from_linen', rows=False)
    check_example(example, 'from_linen')
    if not isinstance(variables, Mapping) or not isinstance(variables.get('params'), Mapping):
        raise UserError(
            f"from_linen: variables are {shown(variables)[:80]}; expected {{'params': ..}}, as "
            '`module.init` returns them'
        )
    bind = functools.partial(bound, module)
    wanted: Mapping[str, Stage] = {'block_00': lambda m, x, mode: called(m, x, mode)}
    wanted = wanted if stages is None else stages
    runs = {name: runner(what) for name, what in wanted.items()}
    last = list(runs)[-1]

    def make_stage(name: str, dtype: str | None, shapes: Shapes | None) -> Callable[..., nn.Module]:
        del shapes
        if dtype is not None:
            raise UserError(
                f'{type(module).__name__} says itself what it computes in; leave out '
                'config.precision and config.model.dtype'
            )
        return functools.partial(LinenStage, bind, runs[name], name == last)

    leaves, owners, x = {}, {}, example
    known = flatten(variables)
    for name in runs:
        found, x = traced(make_stage(name, None, None), name, x)
        for path in found:
            if path not in known:
                raise UserError(f'stage {name!r} reads {path}, which is not among the variables')
            if path in owners:
                raise UserError(
                    f'{path} belongs to {owners[path]!r} and to {name!r}: of a linen module two '
                    'stages cannot share a leaf; write a Network with ties'
                )
            owners[path], (kind, _, rest) = name, path.partition('/')
            leaves[f'{kind}/{name}/{rest}'] = known[path]
    missing = sorted(set(known) - set(owners))
    if missing:
        raise UserError(f'{missing[0]} is used by no stage ({", ".join(runs)})')
    paths = [key.removeprefix('params/') for key in leaves if key.startswith('params/')]
    check_names(class_names, int(x.shape[-1]), 'from_linen')
    structure = Structure(
        stages=tuple(runs),
        make_stage=make_stage,
        example=jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), example),
        outputs=int(x.shape[-1]),
        head={},
        roles={r: frozenset(p for p in paths if known.search(p)) for r, known in ROLES.items()},
        ties={},
        made_of=(type(module), *(what for what in wanted.values() if callable(what))),
        draws=True,
        says={},
    )
    made = {'params': {}, **unflatten(leaves)}
    return Built(tried(structure, made), made, preprocessing, tuple(class_names))


def bound(module: nn.Module, scope: Any) -> nn.Module:
    """The module in a scope, which holds its leaves."""
    return module.clone(parent=scope)


def runner(what: Stage) -> Callable[[Any, Any, Mode], Any]:
    """(module, x, mode) -> what a stage gives."""
    if isinstance(what, str):
        return lambda module, x, mode: called(reached(module, what), x, mode)
    if 'mode' in inspect.signature(what).parameters:
        return lambda module, x, mode: what(module, x, mode=mode)
    return lambda module, x, mode: what(module, x)


def reached(module: Any, path: str) -> object:
    """The submodule at a path."""
    found = module
    for word in path.split('.'):
        found = found[int(word)] if word.isdigit() else getattr(found, word)
    return found


def called(module: Any, x: object, mode: Mode) -> object:
    """A module's output, the arguments of its call that say how it runs given by the mode."""
    noisy = not mode.deterministic
    said = {
        'mode': mode,
        'train': noisy or mode.batch_stats,
        'training': noisy or mode.batch_stats,
        'deterministic': mode.deterministic,
        'use_running_average': not mode.batch_stats,
    }
    known = inspect.signature(type(module).__call__).parameters
    return module(x, **{key: value for key, value in said.items() if key in known})


def traced(constructor: Callable[..., nn.Module], name: str, x: object) -> tuple[list[str], Any]:
    """The leaves that a stage has, and the shape of what it returns."""
    try:
        stage = constructor()
        out, made = jax.eval_shape(lambda x: stage.init_with_output(jax.random.key(0), x, EVAL), x)
    except UserError:
        raise
    except Exception as error:
        reason = str(error).strip().split('\n')[0][:300]
        raise UserError(
            f'stage {name!r} does not run ({type(error).__name__}: {reason}); submodules made in '
            'a compact `__call__` cannot be reached from outside: give stages=None for one stage'
        ) from error
    return list(flatten(made)), out
