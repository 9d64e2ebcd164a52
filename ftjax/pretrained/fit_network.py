"""The network for a checkpoint: what of it is replaced, and how its tensors fit."""

from __future__ import annotations

from collections.abc import Mapping

from ftjax.errors import UserError
from ftjax.models.adapters.adapted import plain_network
from ftjax.models.registry import fields_of
from ftjax.models.stages import Network
from ftjax.pretrained.checkpoint import Checkpoint
from ftjax.pretrained.explain import OTHER_HEAD, Explanation, explain
from ftjax.pretrained.keymaps.keymap import KeyMap


def fit_network(
    checkpoint: Checkpoint, overrides: Mapping[str, object], head: str = 'auto'
) -> tuple[Network, KeyMap, Explanation]:
    """The network for a checkpoint and how its tensors fit, from headers alone.

    Where nobody asks for classes and the file has no head, the network gets none: a base
    model's config.json names two classes that nobody trained. A pooler that the file lacks is
    left out too where no head asks for it: features must not pass through random weights.
    """
    assert checkpoint.source is not None
    network = checkpoint.network(**overrides)
    _check_offsets(checkpoint, network)
    keymap = checkpoint.key_map(network)
    plan = explain(network, checkpoint.source, keymap, head)
    lost = any(key.startswith('params/pooler/') for key in plan.initialised)
    if lost and 'head' not in network.stages and 'pool' not in overrides:
        return fit_network(checkpoint, {**overrides, 'pool': 'none'}, head)
    if head != 'auto' or plan.head != 'new' or plan.head_in_source:
        return network, keymap, plan
    # A language model's head is no matter of classes: a new one takes head='new'.
    another = network.is_dense or keymap.other_class or OTHER_HEAD in plan.skipped.values()
    promised = checkpoint.promises_head and not another
    if promised or network.is_lm:
        explain(network, checkpoint.source, keymap, 'keep')  # raises, naming what is missing
    if 'num_classes' not in overrides:
        return fit_network(checkpoint, {**overrides, 'num_classes': 0}, head)
    return network, keymap, plan


def _check_offsets(checkpoint: Checkpoint, network: Network) -> None:
    """UserError where a table of scores for offsets is wanted at another grid than it is of."""
    wanted = network.offset_grid
    found = checkpoint.network().offset_grid if wanted else None
    if found and wanted and found != wanted:
        raise UserError(
            f'{checkpoint.folder}: its scores for offsets are of {found[0]}x{found[1]} patches '
            f'and cannot be resized to {wanted[0]}x{wanted[1]}; leave the image size '
            '(config.data.image_size) as the checkpoint has it'
        )


def size_override(
    checkpoint: Checkpoint, image_size: int | tuple[int, int] | None
) -> dict[str, object]:
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
