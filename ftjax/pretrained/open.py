"""`load_pretrained`: from one string to a network with its weights and all that goes with it."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ftjax.errors import UserError
from ftjax.models.adapted import plain_network
from ftjax.models.registry import fields_of
from ftjax.models.stages import Network
from ftjax.pretrained.checkpoint import Checkpoint, describe
from ftjax.pretrained.explain import Explanation, explain
from ftjax.pretrained.initialise import random_variables
from ftjax.pretrained.keymap import KeyMap
from ftjax.pretrained.leaves import flatten, unflatten
from ftjax.pretrained.load import Sharding, load_into
from ftjax.pretrained.locate import RANDOM, locate
from ftjax.pretrained.own import check_hash
from ftjax.pretrained.preprocessing import Preprocessing
from ftjax.pretrained.report import LoadReport
from ftjax.pretrained.text_preprocessing import TextPreprocessing


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A network, its variables and what travels with them."""

    network: Network
    variables: dict
    """{'params': .., 'batch_stats': .. where there are any}: nested dicts of jax.Array."""
    report: LoadReport
    preprocessing: Preprocessing | TextPreprocessing | None
    """Of images or of texts; None for a text network that came without a tokenizer."""
    class_names: tuple[str, ...]
    """Of the head, in the order of the logits; () for a new head or where nobody said."""
    source: str
    """The init string."""
    revision: str | None
    """The commit, for what comes from the hub."""
    family: str
    """The family of the names it came under; 'ftjax' for our own format."""
    config: Mapping[str, Any]
    """The checkpoint's configuration, as found."""
    tokenizer: pathlib.Path | None
    """tokenizer.json, for text."""


def load_pretrained(
    init: str,
    *,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    image_size: int | tuple[int, int] | None = None,
    seed: int = 0,
    head: str = 'auto',
    dtype: Any = jnp.float32,
    model: str | Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    sharding: Sharding | None = None,
) -> Pretrained:
    """Opens a pretrained network.

    Args:
      init: 'glyphs' or 'docstrings' (shipped), 'data:NAME', 'hf://ORG/NAME[@REVISION]', the
        path of a folder, file or run; with 'random:' before it the same network with random
        weights.
      num_classes: of the task; None keeps the checkpoint's head as it is, or leaves the head
        out where it has none; 0 leaves it out.
      class_names: of the task; as many classes under other names get a new head with
        head='auto'.
      image_size: (height, width) in pixels or one number; None for the checkpoint's.
        Position tables are resized.
      seed: for the weights that are initialised.
      head: 'auto', 'keep' or 'new'.
      dtype: of the parameters; running statistics are float32 always.
      model: which network it is, for files without a config.json: a name of the registry or
        {'name': .., option: ..}.
      options: other fields of the network to replace, as {'dropout': .1}.
      sharding: (leaf key, shape) -> sharding, for more than one device.

    Raises:
      UserError: nothing there, a pickle, tensors unexplained, missing, damaged or of
        another shape; see `ftjax.pretrained.explain`.

    Example:
      pretrained = load_pretrained('data:resnet26_gn_cifar10', num_classes=2)
      print(pretrained.report.table())
    """
    random = init.startswith(RANDOM)
    where = locate(init.removeprefix(RANDOM), weights=not random)
    checkpoint = describe(where, model, tensors=not random)
    overrides = {**(options or {}), **_size_override(checkpoint, image_size)}
    if num_classes is None and class_names is not None:
        num_classes = len(class_names)
    if num_classes is not None:
        overrides['num_classes'] = num_classes
    names = checkpoint.class_names
    if head == 'auto' and names and class_names is not None and tuple(class_names) != names:
        head = 'new'
    if random:
        network = checkpoint.network(**overrides)
        variables = _placed(random_variables(network, seed, dtype), sharding)
        report = _random_report(init, checkpoint, network, variables)
    else:
        network, keymap, _ = fit_network(checkpoint, overrides, head)
        assert checkpoint.source is not None
        if checkpoint.is_own:
            check_hash(checkpoint.source.path, checkpoint.config)
        variables, report = load_into(
            network, checkpoint.source, keymap, head=head, seed=seed, dtype=dtype, sharding=sharding
        )
    preprocessing, origin = checkpoint.preprocessing(network)
    notes = (*report.notes, *checkpoint.notes)
    if preprocessing is not None or origin.startswith('none:'):
        notes = (*notes, f'preprocessing: {origin}')
    report = dataclasses.replace(report, notes=notes)
    return Pretrained(
        network=network,
        variables=variables,
        report=report,
        preprocessing=preprocessing,
        class_names=names if report.head == 'kept' else tuple(class_names or ()),
        source=init,
        revision=where.revision,
        family=checkpoint.family,
        config=checkpoint.config,
        tokenizer=checkpoint.tokenizer,
    )


def fit_network(
    checkpoint: Checkpoint, overrides: Mapping[str, Any], head: str = 'auto'
) -> tuple[Network, KeyMap, Explanation]:
    """The network for a checkpoint and how its tensors fit, from headers alone.

    Where nobody asks for classes and the file has no head, the network gets none: a base
    model's config.json names two classes that nobody trained. A pooler that the file lacks is
    left out too where no head asks for it: features must not pass through random weights.
    """
    assert checkpoint.source is not None
    network = checkpoint.network(**overrides)
    keymap = checkpoint.key_map(network)
    plan = explain(network, checkpoint.source, keymap, head)
    lost = any(key.startswith('params/pooler/') for key in plan.initialised)
    if lost and 'head' not in network.stages and 'pool' not in overrides:
        return fit_network(checkpoint, {**overrides, 'pool': 'none'}, head)
    if head != 'auto' or plan.head != 'new' or plan.head_in_source:
        return network, keymap, plan
    # A language model's head is no matter of classes: a new one takes head='new'.
    if checkpoint.promises_head or getattr(network, 'is_lm', False):
        explain(network, checkpoint.source, keymap, 'keep')  # raises, naming what is missing
    if 'num_classes' not in overrides:
        return fit_network(checkpoint, {**overrides, 'num_classes': 0}, head)
    return network, keymap, plan


def _size_override(
    checkpoint: Checkpoint, image_size: int | tuple[int, int] | None
) -> dict[str, Any]:
    """{'image_size': ..} in the way the network's field has it; {} for None."""
    if image_size is None:
        return {}
    network = plain_network(checkpoint.network())
    if 'image_size' not in fields_of(type(network)):
        raise UserError(
            f'image_size={image_size}: {type(network).__name__} has no image size to set'
        )
    sizes = (image_size,) * 2 if isinstance(image_size, int) else tuple(image_size)
    return {'image_size': sizes[0] if sizes[0] == sizes[1] else sizes}


def _placed(variables: dict, sharding: Sharding | None) -> dict:
    """The variables on the devices asked for."""
    if sharding is None:
        return variables
    leaves = flatten(variables).items()
    return unflatten({k: jax.device_put(leaf, sharding(k, leaf.shape)) for k, leaf in leaves})


def _random_report(
    init: str, checkpoint: Checkpoint, network: Network, variables: Mapping[str, Any]
) -> LoadReport:
    keys = flatten(variables)
    return LoadReport(
        source=init,
        family=checkpoint.family,
        initialised=dict.fromkeys(keys, 'random weights were asked for'),
        head='new' if 'head' in network.stages else 'none',
    )
