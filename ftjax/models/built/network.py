"""A network made of a model that somebody built elsewhere, whatever library it is of."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ftjax.errors import UserError, check_name, shown
from ftjax.io.json.json_values import JsonObject
from ftjax.models.stages import Network
from ftjax.pytrees import Variables
from ftjax.registry import find

Shapes = Mapping[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Structure:
    """All of a built model but its weights."""

    stages: tuple[str, ...]
    make_stage: Callable[[str, str | None, Shapes | None], Callable[..., nn.Module]]
    """(stage, dtype to compute in, shapes of a new head's leaves) -> constructor of a module."""
    example: Any
    """Shapes and dtypes of one batch of inputs."""
    outputs: int
    """Of the last stage."""
    head: Shapes
    """Leaves of the stage `head` whose last dimension is the outputs; {} if no new head fits."""
    roles: Mapping[str, frozenset[str]]
    """The leaves that strategies mean by a role, as in `Network.has_role`."""
    ties: Mapping[str, tuple[str, ...]]
    made_of: tuple[Any, ...]
    draws: bool
    """Whether anything in it is random: dropout, stochastic depth."""
    says: Mapping[str, Any]
    """Attributes of the stage contract: vocab_size, is_lm, .."""
    own_initial: Callable[[jax.Array], dict[str, Any]] | None = None
    """Other random weights by leaf; None where nobody said how to draw them."""
    write: Callable[[Any, Mapping[str, Any]], None] | None = None
    """(a model, leaves): puts weights into a model of the same kind."""


@dataclasses.dataclass(frozen=True)
class Built:
    """A network made of a built model, and the weights that the model came with."""

    network: BuiltNetwork
    variables: Variables
    preprocessing: Any = None
    """What its inputs are prepared by: `ftjax.preprocessing`; None for pixels to [-1, 1]."""
    class_names: tuple[str, ...] = ()
    """Of the head, in the order of the outputs."""

    @property
    def name(self) -> str:
        """Of the registered function that built it; '#1' of one that lives in this process."""
        return self.network.recipe


_STRUCTURES: dict[object, Structure] = {}
"""By the registered function that builds the model and its arguments as JSON; of a model without
one by a name of this process."""
_COUNT = itertools.count(1)
REGISTER = "put @register('model', NAME) before a function that returns from_nnx(..)"


class BuiltNetwork(Network):
    """A network whose stages are parts of a model that somebody built elsewhere.

    Its fields are plain values, as of all networks: the registered function that builds the
    model, and its arguments. Without one, the network lives as long as this process.
    """

    recipe: str = ''
    recipe_options: str = '{}'
    num_classes: int = 0
    dtype: str | None = None

    @property
    def structure(self) -> Structure:
        """The model's parts."""
        return structure_of(self.recipe, self.recipe_options)

    @property
    def stages(self) -> tuple[str, ...]:
        names = self.structure.stages
        dropped = not (self.num_classes or self.is_lm) and names[-1] == 'head'
        return names[:-1] if dropped else names

    @property
    def ties(self) -> dict[str, tuple[str, ...]]:
        return {name: keys for name, keys in self.structure.ties.items() if name in self.stages}

    @property
    def made_of(self) -> tuple[object, ...]:
        return self.structure.made_of

    @property
    def noiseless(self) -> bool:
        return not self.structure.draws

    @property
    def vocab_size(self) -> int | None:
        return self.structure.says.get('vocab_size')

    @property
    def max_positions(self) -> int | None:
        return self.structure.says.get('max_positions')

    @property
    def pad_id(self) -> int | None:
        return self.structure.says.get('pad_id')

    @property
    def token_types(self) -> int:
        return self.structure.says.get('token_types', 0)

    @property
    def is_lm(self) -> bool:
        return self.structure.says.get('is_lm', False)

    def has_role(self, path: str, role: str) -> bool:
        return path in self.structure.roles[role]

    def make_stage(self, name: str) -> Callable[..., nn.Module]:
        found = self.structure
        shapes = None
        if name == 'head' and (found.head or self.num_classes != found.outputs) and not self.is_lm:
            shapes = head_shapes(found, self.num_classes)
        return found.make_stage(name, self.dtype, shapes)

    @property
    def is_local(self) -> bool:
        return self.recipe.startswith('#')

    def own_initial(self, key: jax.Array) -> dict[str, Any]:
        found = self.structure.own_initial
        return {} if found is None else found(key)

    def example_input(self, batch_size: int = 1) -> Any:
        return jax.tree.map(
            lambda x: jnp.zeros((batch_size, *x.shape[1:]), x.dtype), self.structure.example
        )


def built_network(structure: Structure) -> BuiltNetwork:
    """The network of a structure that is known in this process alone."""
    name = f'#{next(_COUNT)}'
    _STRUCTURES[name] = structure
    is_lm = structure.says.get('is_lm', False)
    return BuiltNetwork(name, num_classes=0 if is_lm else structure.outputs)


def head_shapes(structure: Structure, classes: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the head's leaves for another number of classes."""
    if not structure.head:
        raise UserError(
            f'{classes} classes, and the model has {structure.outputs} outputs: no new head can '
            'be made, because its last stage is not called head, has no dense layer of as many '
            'outputs, or fixes their number (by a reshape, say); build the model for these classes'
        )
    return {key: (*shape[:-1], classes) for key, shape in structure.head.items()}


def can_draw(network: BuiltNetwork) -> bool:
    """Whether there are other random weights of a network."""
    return network.structure.own_initial is not None


def new_head_leaves(network: BuiltNetwork) -> tuple[str, ...]:
    """The leaves of `head` that a new head draws; UserError where none can be made."""
    return tuple(head_shapes(network.structure, network.num_classes))


def structure_of(recipe: str, options: str) -> Structure:
    """The structure of a model by the registered function that builds it and its arguments."""
    if recipe.startswith('#'):
        if recipe not in _STRUCTURES:
            raise UserError(f'the network {recipe} was built in another process; {REGISTER}')
        return _STRUCTURES[recipe]
    function = find('model', recipe).function
    if (function, options) not in _STRUCTURES:
        run_recipe(recipe, options)
    return _STRUCTURES[function, options]


def run_recipe(recipe: str, options: str) -> Built:
    """What a registered function builds, under its name; the structure is kept, the weights not."""
    function = find('model', recipe).function
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(options).items()}
    built = function(**given)
    if not isinstance(built, Built):
        raise UserError(f'model {recipe!r} returned {shown(built)}; expected from_nnx(..)')
    # It stays under its first name too: the function may return the same again.
    structure = _STRUCTURES[built.network.recipe]
    # What it calls may have changed since, in another cell of a notebook.
    _STRUCTURES[function, options] = structure
    network = built.network.clone(recipe=recipe, recipe_options=options)
    return dataclasses.replace(built, network=network)


LISTS: dict[type, tuple[type, ...]] = {tuple: (list,)}
"""What a config may hold in place of a value's own type."""


def open_built(name: str, options: JsonObject) -> Built:
    """The network that a registered function builds, with its weights.

    Args:
      name: of the function.
      options: its arguments, and `num_classes` and `dtype` of the network.

    Raises:
      UserError: an argument that the function does not have.
    """
    known, own = find('model', name).parameters, dict(options)
    fields = {key: own.pop(key) for key in ('num_classes', 'dtype') if key in own}
    for key, value in own.items():
        check_name(key, [*known, 'num_classes', 'dtype'], f'option of model {name!r}:')
        wanted = known[key]
        kinds = (int, float) if type(wanted) is float else (type(wanted),)
        if wanted is not None and type(value) not in (*kinds, *LISTS.get(type(wanted), ())):
            raise UserError(
                f'model {name!r}: {key} is {shown(value)}; expected a value as {wanted!r}'
            )
    built = run_recipe(name, json.dumps(own, sort_keys=True))
    return dataclasses.replace(built, network=built.network.clone(**fields))
