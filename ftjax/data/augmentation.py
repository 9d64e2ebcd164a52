"""What `data.augment` says: augmentations by name, with amounts."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from ftjax import registry
from ftjax.errors import UserError
from ftjax.registry import Term

Parsed = tuple[Term, ...]
_SHORT = {'none': '', 'crop_flip': 'pad_crop,flip'}


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """The `details` of an augmentation: what it changes, and so how it is called.

    'images': (image float32 (H, W, C), key, **arguments) -> image, traced, on the device.
    'batches': (images (B, H, W, C), partners alike, key, **arguments) -> (images, share (B,) of the
    first of each pair), traced, on the device, after those of single images.
    'words': (text, generator, **arguments) -> text, on the host before tokenisation.
    'tokens': (ids, special, generator, mask_id=.., **arguments) -> ids, on the host, after it.
    """

    of: str = 'images'
    moves: bool | None = None
    """Whether it moves the pixels of an image, linearly interpolated, and does nothing else; False
    for one that leaves every pixel in its place. None: it may do both, and masks cannot follow."""


IMAGES = Augmentation(moves=False)
MOVES = Augmentation(moves=True)
"""The details of an augmentation that moves pixels."""


def parse_augment(text: str) -> Parsed:
    """The augmentations of a comma list; raises UserError with the nearest name.

    A number, or `key=value`, after a comma is one more argument of the name before it.

    >>> [str(term) for term in parse_augment('crop_flip,rotate:10')]
    ['pad_crop:4', 'flip:0.5', 'rotate:10']
    """
    found: list[str] = []
    parts = [part.strip() for part in text.split(',')]
    if len(parts) > 1 and not all(parts):
        raise UserError(f'data.augment {text!r}: a name between commas is empty')
    for part in parts:
        name, colon, _ = part.partition(':')
        if name in _SHORT and colon:
            raise UserError(f'data.augment {part!r}: {name} takes no amount')
        if found and re.fullmatch(r'[-+.\d].*|\w+=.*', part):
            found[-1] += f',{part}'
        else:
            found += [name for name in _SHORT.get(part, part).split(',') if name]
    return tuple(registry.parse('augmentation', part, 'data.augment', _SHORT) for part in found)


def of_kind(todo: Sequence[Term], *kinds: str) -> list[Term]:
    """The augmentations that change one of some things: 'images', 'words', 'tokens'."""
    return [term for term in todo if kind_of(term) in kinds]


def kind_of(term: Term) -> str:
    """What an augmentation changes; images where its author does not say."""
    return (term.details or IMAGES).of


def known(*kinds: str) -> str:
    """Names of the augmentations of some things, for messages."""
    every = registry.parts('augmentation').values()
    return ', '.join(part.name for part in every if (part.details or IMAGES).of in kinds)
