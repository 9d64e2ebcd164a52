"""Networks that a registered function builds with their weights: `config.init='mine'`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from ftjax.errors import UserError, shown
from ftjax.leaves import flatten, unflatten
from ftjax.models.built.network import Built, can_draw, new_head_leaves
from ftjax.models.stages import Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.table_features import TablePreprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pretrained.checkpoint import input_size
from ftjax.pretrained.initialise import cast, random_leaves, random_variables
from ftjax.pretrained.report import LoadReport
from ftjax.pytrees import Variables

FAMILY = 'built'
KINDS = (Preprocessing, TextPreprocessing, TablePreprocessing)
"""What prepares inputs."""


@dataclasses.dataclass(frozen=True)
class OpenedModel:
    """A built model as the network of a task."""

    network: Network
    variables: Variables
    report: LoadReport
    preprocessing: Preprocessing | TextPreprocessing | None
    class_names: tuple[str, ...]
    """Of a head that was kept."""


def open_model(
    built: Built,
    source: str,
    *,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    seed: int = 0,
    head: str = 'auto',
    dtype: DTypeLike = jnp.float32,
    random: bool = False,
) -> OpenedModel:
    """The network of a built model for the classes of a task; arguments as of `load_pretrained`.

    Args:
      built: what `from_nnx` gives.
      source: what messages and the report call it.
      random: with other random weights, by the model's `rebuild`.

    Raises:
      UserError: a head that cannot be made, or random weights of a model that says no `rebuild`.
    """
    own, names = built.network.num_classes, built.class_names
    classes = num_classes if num_classes is not None else len(class_names or ()) or own
    if head == 'keep' and classes != own:
        raise UserError(f'{source}: its head has {own} outputs; expected {classes}')
    others = bool(names) and class_names is not None and tuple(class_names) != names
    new = bool(classes) and (head == 'new' or (head == 'auto' and (classes != own or others)))
    network = built.network.clone(num_classes=classes)
    initial = {f'params/head/{key}' for key in new_head_leaves(network)} if new else set()
    if random and not can_draw(network):
        raise UserError(
            f'random:{source}: its function says no rebuild=, by which from_nnx draws other '
            'weights: rebuild=lambda rngs: Model(.., rngs=rngs)'
        )
    if random:
        leaves = flatten(random_variables(network, seed, dtype))
    else:
        leaves = {k: x for k, x in flatten(built.variables).items() if k not in initial}
        leaves = {k: x for k, x in leaves.items() if k.split('/')[1] in network.stages}
        leaves |= random_leaves(network, initial, seed) if initial else {}
        leaves = {key: cast(key, jnp.asarray(leaf), dtype) for key, leaf in leaves.items()}
    made, why = {k: k.partition('/')[2] for k in leaves}, {}
    if random or initial:
        why = {
            key: 'random weights were asked for' if random else f'a new head for {classes} classes'
            for key in leaves
            if random or key in initial
        }
    preprocessing, note = preprocessing_of(built.preprocessing, network)
    report = LoadReport(
        source=source,
        family=FAMILY,
        loaded={key: leaf for key, leaf in made.items() if key not in why},
        initialised=why,
        head='none' if 'head' not in network.stages else 'new' if new or random else 'kept',
        notes=note,
    )
    kept = names if report.head == 'kept' else ()
    return OpenedModel(network, unflatten(leaves), report, preprocessing, kept)


def preprocessing_of(said: object, network: Network) -> tuple[Any, tuple[str, ...]]:
    """What a network's inputs are prepared by, and what the report says of it."""
    if said is not None and not isinstance(said, KINDS):
        raise UserError(
            f'preprocessing={shown(said)} of a built model; expected '
            'ftjax.preprocessing.images.Preprocessing or TextPreprocessing'
        )
    size = input_size(network)
    if said is not None or size is None or network.takes != 'images':
        return said, ()
    half = (0.5,) * size[2]
    assumed = Preprocessing(image_size=size[:2], mean=half, std=half, channels=size[2])
    return assumed, ('preprocessing: assumed (mean .5, std .5): from_nnx was given none',)


def sized(network: Network, image_size: int | tuple[int, int] | None) -> None:
    """UserError for another image size than that of a network that has one size."""
    size = input_size(network)
    if image_size is None or size is None:
        return
    wanted = (image_size,) * 2 if isinstance(image_size, int) else tuple(image_size)
    if wanted != size[:2]:
        raise UserError(
            f'image_size={image_size}, and the network takes {size[0]} x {size[1]}: build it for '
            'that size; a function with an argument image_size is given it'
        )


def options_for(
    parameters: Mapping[str, object], options: Mapping[str, object], image_size: object
) -> dict[str, object]:
    """The arguments of a building function: the config's, and the image size if it has one."""
    size = {'image_size': image_size} if image_size and 'image_size' in parameters else {}
    return {**size, **options}


def placed(variables: Variables, sharding: Any) -> dict[str, Any]:
    """The variables on the devices asked for."""
    if sharding is None:
        return dict(variables)
    leaves = flatten(variables).items()
    return unflatten({k: jax.device_put(leaf, sharding(k, leaf.shape)) for k, leaf in leaves})
