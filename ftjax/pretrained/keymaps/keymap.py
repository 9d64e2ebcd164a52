"""Key maps: a declarative table of how a checkpoint's tensors become a network's leaves.

A map is a list of rules, each with two templates that share placeholders:

    Rule('encoder.layer.{block}.attention.query.weight', 'block_{block:02d}/attn/query/kernel',
         'dense')

Every rule reads in both directions (see key_template.py): the same table loads a checkpoint and
writes it back under the source's own names.

A leaf is named by its key, the collection and the path: `params/block_00/attn/query/kernel`,
`batch_stats/stem/norm/mean`.

Adding a family takes one module in a room of `families/` and one row in that room's table; see
families/__init__.py.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Sequence

import numpy as np

from ftjax.errors import UserError, check_name
from ftjax.pretrained.keymaps.key_template import template
from ftjax.pretrained.keymaps.transforms import TRANSFORMS, Transform


@dataclasses.dataclass(frozen=True)
class Rule:
    """One kind of tensor: where it comes from, where it goes and how its layout changes."""

    source: str
    """Template of the tensor's name in the checkpoint."""
    path: str | tuple[str, ...]
    """Template of the leaf's path; several when a fused tensor is split, as query, key, value."""
    transform: str | Transform = 'copy'
    """A name in TRANSFORMS, or a Transform of the family's own; after the split, if any."""
    collection: str = 'params'
    """'params' or 'batch_stats'."""
    split: int = 0
    """The source axis along which a fused tensor is cut into parts, one for each path."""
    sizes: tuple[int, ...] = ()
    """The lengths of those parts; empty for equal ones."""

    def __post_init__(self):
        if isinstance(self.transform, str):
            check_name(self.transform, TRANSFORMS, 'transform')
        check_name(self.collection, ('params', 'batch_stats'), 'collection')
        for path in self.paths:
            if template(path).names != self.names:
                raise UserError(
                    f'key map: {self.source!r} and {path!r} have different placeholders, '
                    'so the rule cannot be read backwards'
                )

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths, always as a tuple."""
        return (self.path,) if isinstance(self.path, str) else self.path

    @property
    def names(self) -> set[str]:
        """The placeholders' names; empty for a rule about one tensor."""
        return template(self.source).names

    @property
    def layout(self) -> Transform:
        """The transform itself."""
        return TRANSFORMS[self.transform] if isinstance(self.transform, str) else self.transform

    def keys(self, numbers: dict[str, int]) -> tuple[str, ...]:
        """The leaves' keys for these placeholder values."""
        return tuple(f'{self.collection}/{template(path).write(numbers)}' for path in self.paths)

    def forward(self, tensor: np.ndarray) -> list[np.ndarray]:
        """The leaves that a source tensor becomes, in the order of `paths` (views if possible)."""
        return [self.layout.forward(part) for part in self._cut(tensor)]

    def _cut(self, tensor: np.ndarray) -> list[np.ndarray]:
        parts = len(self.paths)
        if parts == 1:
            return [tensor]
        if not self.sizes:
            return np.split(tensor, parts, axis=self.split)
        if tensor.ndim <= self.split or tensor.shape[self.split] != sum(self.sizes):
            raise ValueError(f'{tensor.shape} cannot be cut into {self.sizes}')
        return np.split(tensor, np.cumsum(self.sizes)[:-1], axis=self.split)

    def inverse(self, leaves: Sequence[np.ndarray]) -> np.ndarray:
        """The source tensor of its leaves, in the order of `paths`."""
        parts = [self.layout.inverse(leaf) for leaf in leaves]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=self.split)

    def shapes(self, source: tuple[int, ...]) -> list[tuple[int, ...]]:
        """The shapes of the leaves that a tensor of shape `source` becomes.

        Raises:
          ValueError: the tensor has too few axes, or cannot be cut into equal parts.
        """
        return [leaf.shape for leaf in self.forward(np.broadcast_to(np.zeros((), bool), source))]


@dataclasses.dataclass(frozen=True)
class PositionTable:
    """A leaf of learned positions, (1, tokens, width), that can be resized to another grid."""

    path: str
    """The leaf's path below params, as 'embed/pos_embed'."""
    prefix_tokens: int = 0
    """Leading rows that belong to no patch (class, distillation token): copied as they are."""
    source_grid: tuple[int, int] | None = None
    """The checkpoint's patches (down, across); None takes a square."""
    method: str = 'bicubic'
    """'bicubic' or 'bilinear'."""
    antialias: bool = False
    """False as in transformers and DINOv2, True as in timm."""


@dataclasses.dataclass(frozen=True)
class Match:
    """A tensor that a rule explains: the leaves it becomes, in the order of the rule's paths."""

    rule: Rule
    keys: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class KeyMap:
    """All rules of one naming scheme, and what else a strict load must know of it."""

    family: str
    """The name errors and reports use, as 'vit (timm)'."""
    rules: tuple[Rule, ...]
    unused: tuple[str, ...] = ()
    """Regular expressions (full match) of tensors that files of this kind rightly hold and
    the network does not need: position ids, a masked-LM head. Anything else is an error."""
    prefixes: tuple[str, ...] = ()
    """Prefixes that a file's names may have beyond the rules', or lack: 'module.', 'vit.'."""
    initialisable: tuple[str, ...] = ()
    """Regular expressions (full match) of leaf paths that a file may lack, as 'pooler/.*';
    they are initialised, and reported so. The stage `head` always may be."""
    positions: tuple[PositionTable, ...] = ()
    other_head: tuple[str, ...] = ()
    """Templates of tensors of a head for another task, which are left over."""
    other_class: str = ''
    """The class that has that head."""

    # Rules without placeholders are looked up, not tried one by one: our own files, whose map
    # has a rule for every leaf, would otherwise take time quadratic in their number.
    @functools.cached_property
    def _by_name(self) -> dict[str, Rule]:
        return {rule.source: rule for rule in reversed(self.rules) if not rule.names}

    @functools.cached_property
    def _by_key(self) -> dict[str, Rule]:
        rules = [rule for rule in reversed(self.rules) if not rule.names]
        return {key: rule for rule in rules for key in rule.keys({})}

    @functools.cached_property
    def _patterned(self) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules if rule.names)

    def spellings(self, name: str) -> list[str]:
        """`name`, and what it is with each prefix taken off or put on."""
        names = [name]
        for bare in names:  # grows while it is walked: wrappers may be nested
            names += [bare.removeprefix(p) for p in self.prefixes if bare.startswith(p)]
        # On as well as off, because a base model's file lacks what the full model's has.
        return names + [prefix + bare for bare in names for prefix in self.prefixes]

    def match(self, name: str) -> Match | None:
        """The rule that explains a tensor and the leaves it becomes; None if there is none."""
        for spelling in self.spellings(name):
            if rule := self._by_name.get(spelling):
                return Match(rule, rule.keys({}))
            for rule in self._patterned:
                numbers = template(rule.source).read(spelling)
                if numbers is not None:
                    return Match(rule, rule.keys(numbers))
        return None

    def is_unused(self, name: str) -> bool:
        """Whether the map declares this tensor as rightly left over."""
        return self.why_unused(name) is not None

    def why_unused(self, name: str) -> str | None:
        """Why a tensor is rightly left over; None if it is not."""
        spellings = self.spellings(name)
        if any(template(t).read(s) is not None for t in self.other_head for s in spellings):
            return f'of the head of {self.other_class}, which is for another task'
        found = any(re.fullmatch(pattern, s) for pattern in self.unused for s in spellings)
        return 'declared unused by the key map' if found else None

    def without_head(self, architecture: str) -> KeyMap:
        """The map for a class whose head is for another task, whatever its tensors are called."""
        own = [rule for rule in self.rules if rule.paths[0].startswith('head/')]
        return dataclasses.replace(
            self,
            rules=tuple(rule for rule in self.rules if rule not in own),
            other_head=tuple(rule.source for rule in own),
            other_class=architecture,
        )

    def may_initialise(self, key: str) -> bool:
        """Whether the leaf with this key may be missing from a file."""
        path = key.partition('/')[2]
        return any(re.fullmatch(pattern, path) for pattern in self.initialisable)

    def source_of(self, key: str) -> tuple[str, Match] | None:
        """The checkpoint's name for a leaf and the match that makes it; None if no rule does.

        The first rule whose path fits wins: write the names to export first.
        """
        if rule := self._by_key.get(key):
            return rule.source, Match(rule, rule.keys({}))
        collection, _, path = key.partition('/')
        for rule in self._patterned:
            if rule.collection != collection:
                continue
            for pattern in rule.paths:
                numbers = template(pattern).read(path)
                if numbers is not None:
                    name = template(rule.source).write(numbers)
                    return name, Match(rule, rule.keys(numbers))
        return None

    def position_table(self, key: str) -> PositionTable | None:
        """The position table at this leaf, if it is one."""
        return next((table for table in self.positions if f'params/{table.path}' == key), None)


def dense(source: str, path: str, *, bias: bool = True) -> tuple[Rule, ...]:
    """Rules of a PyTorch linear layer: weight (out, in) and bias."""
    rules = (Rule(f'{source}.weight', f'{path}/kernel', 'dense'),)
    return (*rules, Rule(f'{source}.bias', f'{path}/bias')) if bias else rules


def conv(source: str, path: str, *, bias: bool = True) -> tuple[Rule, ...]:
    """Rules of a PyTorch 2-D convolution: weight OIHW and bias."""
    rules = (Rule(f'{source}.weight', f'{path}/kernel', 'conv'),)
    return (*rules, Rule(f'{source}.bias', f'{path}/bias')) if bias else rules


def dense_1x1(source: str, path: str, *, bias: bool = True) -> tuple[Rule, ...]:
    """Rules of a PyTorch convolution of one pixel that is a dense layer here: (out, in, 1, 1)."""
    rules = (Rule(f'{source}.weight', f'{path}/kernel', 'pointwise'),)
    return (*rules, Rule(f'{source}.bias', f'{path}/bias')) if bias else rules


def per_channel(source: str, path: str) -> tuple[Rule, ...]:
    """The rule of a tensor (1, C, 1, 1), one number a channel, that is a vector (C,) here."""
    return (Rule(source, path, 'channels'),)


def norm(source: str, path: str, *, bias: bool = True) -> tuple[Rule, ...]:
    """Rules of a PyTorch LayerNorm, GroupNorm or RMSNorm: weight and bias, (channels,)."""
    rules = (Rule(f'{source}.weight', f'{path}/scale'),)
    return (*rules, Rule(f'{source}.bias', f'{path}/bias')) if bias else rules


def batch_norm(source: str, path: str) -> tuple[Rule, ...]:
    """Rules of a PyTorch BatchNorm; declare r'.*num_batches_tracked' as unused beside it."""
    return (
        *norm(source, path),
        Rule(f'{source}.running_mean', f'{path}/mean', collection='batch_stats'),
        Rule(f'{source}.running_var', f'{path}/var', collection='batch_stats'),
    )


def identity(family: str, keys: Iterable[str]) -> KeyMap:
    """The map of our own files: every tensor is named by its leaf's key."""
    rules = []
    for key in keys:
        collection, _, path = key.partition('/')
        rules.append(Rule(key, path, collection=collection))
    return KeyMap(family, tuple(rules))
