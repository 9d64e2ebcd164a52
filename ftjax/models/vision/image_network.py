"""What families of image networks share: a head for the whole image, or for each position of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import flax.linen as nn

from ftjax.errors import UserError, did_you_mean
from ftjax.models.layers.heads import Head
from ftjax.models.stages import Network
from ftjax.registry import Term, parse, parts

POOLED = 'pooled'
"""The head that answers the image as a whole."""


class ImageNetwork(Network):
    """A family whose head is the classifier of pooled features, or one of every position.

    A family calls `head_stage()` for the stage `head`, and does not pool in the stage before it
    where `is_dense`.
    """

    answers_positions: ClassVar[bool] = True
    """Whether the family has maps to answer; False refuses other heads than that."""
    head: str = POOLED
    """'pooled', or what answers each position: 'linear', 'fpn', 'fpn:WIDTH'."""

    def __post_init__(self):
        super().__post_init__()
        if self.head == POOLED:
            return
        if not self.answers_positions:
            raise UserError(
                f'{type(self).__name__}: head {self.head!r} needs a map of the image, and this '
                f'family has only {POOLED!r}'
            )
        if self.head.partition(':')[0] not in parts('head'):
            near = did_you_mean(self.head, [POOLED, *parts('head')])
            raise UserError(f'{type(self).__name__}: unknown head {self.head!r}; {near}')
        self.pixel_head()

    def pixel_head(self) -> Term:
        """The registered head; UserError for arguments that it has not."""
        return parse('head', self.head, 'model.head')

    @property
    def is_dense(self) -> bool:
        return self.head != POOLED and self.num_classes > 0

    @property
    def tapped(self) -> tuple[str, ...]:
        if not self.is_dense:
            return ()
        return ends(self.sections, self.pixel_head().details.maps)[:-1]

    def head_stage(self) -> Callable[..., nn.Module]:
        """The constructor of the stage `head`."""
        if not self.is_dense:
            return partial(Head, self.num_classes)
        return self.pixel_head()(self.num_classes, 'norm' in self.stages)


def ends(sections: tuple[tuple[str, ...], ...], count: int) -> tuple[str, ...]:
    """The last blocks of so many sections, evenly spaced, the last of all among them.

    >>> ends((('stem', 'a0', 'a1'), ('b0',), ('c0', 'c1'), ('d0',)), 4)
    ('a1', 'b0', 'c1', 'd0')
    >>> ends((('a',), ('b',)), 4)
    ('a', 'b')
    """
    last = [section[-1] for section in sections]
    places = {-(-turn * len(last) // count) - 1 for turn in range(1, count + 1)}
    return tuple(last[place] for place in sorted(places))
