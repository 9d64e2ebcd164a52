"""`from_nnx`: a built NNX model with its weights as a network of stages."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

from ftjax.errors import UserError, check_name
from ftjax.leaves import flatten, unflatten
from ftjax.models.adapters.adapted import merge
from ftjax.models.built.given import (
    check_drawn,
    check_example,
    check_names,
    check_patterns,
    check_rebuild,
    check_stages,
)
from ftjax.models.built.network import Built, BuiltNetwork, Shapes, Structure
from ftjax.models.built.nnx_layers import NORMS
from ftjax.models.built.nnx_opened import call, described
from ftjax.models.built.nnx_parts import Part, outputs_of, split_model, write_part
from ftjax.models.built.nnx_stage import NNXStage
from ftjax.models.built.nnx_variables import Stage
from ftjax.models.built.trial import tried
from ftjax.models.stages import ROLES, Network
from ftjax.pytrees import Flat, Variables

BY_NAME = {
    'attention': re.compile(r'(^|[/_])(self_?)?att(n|ention)'),
    'position': re.compile(r'pos(ition)?(al)?_?emb|[/_]pos(ition)?s?($|/)'),
    'mlp': re.compile(r'(^|[/_])(mlp|ffn|feed_?forward)'),
}
"""What names in other people's models mean, beyond ROLES."""


def from_nnx(
    model: nnx.Module,
    stages: Mapping[str, Stage],
    *,
    example: object,
    rebuild: Callable[[nnx.Rngs], nnx.Module] | None = None,
    preprocessing: object = None,
    class_names: Sequence[str] = (),
    roles: Mapping[str, str] | None = None,
    vocab_size: int | None = None,
    max_positions: int | None = None,
    token_types: int = 0,
    pad_id: int | None = None,
    is_lm: bool = False,
) -> Built:
    """A built NNX model, its weights included, as a network for all that ftjax does.

    Args:
      model: it is only read.
      stages: name -> what the stage runs, in depth order: the path of a module, 'blocks.0' (of one
        layer of a stack, 'blocks[0]'); several paths in a row; or a function (model, x) -> x. Call
        them embed or stem, block_00 .., norm, head. A module or function with an argument `rngs`
        is given the run's random keys.
      example: one batch of inputs, or their shapes.
      rebuild: the same model with other random weights, `lambda rngs: Model(.., rngs=rngs)`: for
        `random:` and strategies that draw weights anew.
      preprocessing: `ftjax.preprocessing.images.Preprocessing`, or of texts.
      class_names: of the model's head; another task gets a new one.
      roles: patterns of leaves by role, {'mlp': '/dense_'}, where names do not say it.
      vocab_size, max_positions, token_types, pad_id, is_lm: of a model of texts, as in `Network`.

    Raises:
      UserError: a stage that leads nowhere or does not run, a parameter that no stage uses.

    >>> class Mean(nnx.Module):
    ...     def __init__(self, rngs):
    ...         self.body = nnx.Linear(4, 8, rngs=rngs)
    ...         self.head = nnx.Linear(8, 3, rngs=rngs)
    >>> stages = {'block_00': 'body', 'head': 'head'}
    >>> built = from_nnx(Mean(nnx.Rngs(0)), stages, example=jnp.zeros((1, 4)))
    >>> built.network.stages, built.variables['params']['head']['kernel'].shape
    (('block_00', 'head'), (8, 3))
    """
    check_stages(stages, 'from_nnx')
    check_example(example, 'from_nnx')
    check_rebuild(rebuild)
    check_patterns(roles or {})
    parts, leaves, out = split_model(model, stages, example)
    check_names(class_names, outputs_of(out), 'from_nnx')
    by_name = {part.stage: part for part in parts}

    def make_stage(name: str, dtype: str | None, shapes: Shapes | None) -> Callable[..., nn.Module]:
        return functools.partial(NNXStage, by_name[name], dtype, shapes)

    def own_initial(key: jax.Array) -> dict[str, Any]:
        assert rebuild is not None
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), structure.example)
        drawn = split_model(rebuild(nnx.Rngs(key)), stages, zeros)[1]
        check_drawn(leaves, drawn)
        return drawn

    def write(model: nnx.Module, leaves: Mapping[str, Any]) -> None:
        for part in split_model(model, stages, example)[0]:
            write_part(model, stages[part.stage], part, leaves)

    structure = Structure(
        stages=tuple(by_name),
        make_stage=make_stage,
        example=jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), example),
        outputs=outputs_of(out),
        head=head_leaves(parts[-1], outputs_of(out)),
        roles=roles_of(parts, leaves, roles or {}),
        ties=ties_of(parts),
        made_of=(type(model), *(what for what in stages.values() if callable(what))),
        draws=any(part.draws or any(s.kind == 'random' for s in part.slots) for part in parts),
        says={
            'vocab_size': vocab_size,
            'max_positions': max_positions,
            'token_types': token_types,
            'pad_id': pad_id,
            'is_lm': is_lm,
        },
        own_initial=None if rebuild is None else own_initial,
        write=write,
    )
    check_whole(model, example, out)
    variables = {'params': {}, **unflatten(leaves)}
    return Built(tried(structure, variables), variables, preprocessing, tuple(class_names))


def into_nnx(model: nnx.Module, network: Network, variables: Variables) -> nnx.Module:
    """Puts trained weights back into a model, adapters merged; returns it.

    Args:
      model: of the same class and sizes as that which `from_nnx` was given; it is changed. A head
        for other classes is put into its `nnx.Linear`.
      network: of `from_nnx`, with adapters or without.
      variables: its variables, as a run ends with them.

    Raises:
      UserError: adapters that cannot be merged, or a network that is not of `from_nnx`.
    """
    plain, merged = merge(network, variables)
    if not isinstance(plain, BuiltNetwork) or plain.structure.write is None:
        raise UserError(f'{type(plain).__name__} is no network of from_nnx')
    plain.structure.write(model, flatten(merged))
    return model


def ties_of(parts: Sequence[Part]) -> dict[str, tuple[str, ...]]:
    """Stage -> paths of the parameters that it shares with earlier ones."""
    tied = {
        part.stage: tuple(s.key for s in part.slots if s.tied and s.kind == 'params')
        for part in parts
    }
    return {name: keys for name, keys in tied.items() if keys}


def check_whole(model: object, example: object, out: Any) -> None:
    """UserError where the model itself gives another shape than its stages in turn."""
    graphdef, state = nnx.split(model)

    def run(state: object, x: object) -> Any:
        return call(nnx.merge(graphdef, state), x, nnx.Rngs(0))

    try:
        whole = jax.eval_shape(run, state, example)
    except Exception:  # its call takes more than inputs: nothing to compare with
        return
    if getattr(whole, 'shape', out.shape) != out.shape:
        raise UserError(
            f'{type(model).__name__} returns {described(whole)}, and its stages in turn '
            f'{described(out)}; is one missing?'
        )


def head_leaves(part: Part, outputs: int) -> dict[str, tuple[int, ...]]:
    """The dense layer of as many outputs in the last stage, if that is `head`, leaf by leaf."""
    shapes = {
        slot.key: part.templates[slot.path].get_value().shape
        for slot in part.slots
        if slot.kind == 'params' and not slot.tied
    }
    kernels = [
        key
        for key, shape in shapes.items()
        if key.rsplit('/', 1)[-1] == 'kernel' and shape[1:] == (outputs,)
    ]
    if part.stage != 'head' or len(kernels) != 1:
        return {}
    stem = kernels[0].removesuffix('kernel')
    return {key: shapes[key] for key in (f'{stem}kernel', f'{stem}bias') if key in shapes}


def roles_of(
    parts: Sequence[Part], leaves: Flat, said: Mapping[str, str]
) -> dict[str, frozenset[str]]:
    """The leaves of each role: by the types of their modules, by name, or as somebody said."""
    for role in said:
        check_name(role, ROLES, 'role of leaves:')
    paths = [key.removeprefix('params/') for key in leaves if key.startswith('params/')]
    typed = typed_leaves(parts)
    found = {}
    for role, known in ROLES.items():
        if role in said:
            pattern = re.compile(said[role])
            found[role] = frozenset(path for path in paths if pattern.search(path))
            continue
        patterns = [known, *([BY_NAME[role]] if role in BY_NAME else [])]
        named = {path for path in paths if any(each.search(path) for each in patterns)}
        found[role] = frozenset(named | typed.get(role, set()))
    return found


def typed_leaves(parts: Sequence[Part]) -> dict[str, set[str]]:
    """The leaves of norms and of attention, as the types of their modules say."""
    found: dict[str, set[str]] = {'norm': set(), 'attention': set()}
    for part in parts:
        own = [s for s in part.slots if s.kind == 'params' and not s.tied]
        for path, module in nnx.iter_graph(part.merged({})):
            kinds = (('norm', NORMS), ('attention', (nnx.MultiHeadAttention,)))
            for role in (role for role, types in kinds if isinstance(module, types)):
                below = [s.key for s in own if s.path[: len(path)] == path]
                found[role] |= {f'{part.stage}/{key}' for key in below}
    return found
