"""Strictness: every tensor and every leaf is accounted for from headers, before any is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ftjax.errors import UserError, check_name, did_you_mean
from ftjax.leaves import stage_of
from ftjax.models.layers.pixel_heads import is_of_pixels
from ftjax.models.stages import Network
from ftjax.pretrained.families import family_of_tensors
from ftjax.pretrained.initialise import leaf_shapes
from ftjax.pretrained.keymaps.keymap import KeyMap, Match
from ftjax.pretrained.positions import grid_of
from ftjax.pretrained.prefixes import partial_prefix
from ftjax.pretrained.readers import TensorSource

HEADS = ('auto', 'keep', 'new')
OTHER_HEAD = 'one head answers the image, the other each position of it'
"""Why a head in the file is not the network's."""
Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What a load will do, decided from names and shapes alone."""

    reads: dict[str, Match]
    """Tensor -> the leaves it becomes; each is read once."""
    resizes: dict[str, tuple[tuple[int, int], tuple[int, int]]]
    """Key of a position table -> (source grid, target grid)."""
    initialised: dict[str, str]
    skipped: dict[str, str]
    head: str
    """'kept', 'new' or 'none'."""
    head_in_source: bool
    """Whether the checkpoint has any tensor of the network's head."""
    keys: tuple[str, ...]
    """Every leaf of the network, in depth order."""


def explain(
    network: Network, source: TensorSource, keymap: KeyMap, head: str = 'auto'
) -> Explanation:
    """Accounts for every tensor of the source and every leaf of the network.

    Args:
      network: what the tensors are to become.
      source: the checkpoint.
      keymap: the family's names.
      head: 'auto' keeps the checkpoint's head if it has one for as many classes and makes a
        new one otherwise; 'keep' insists on it; 'new' replaces it in any case.

    Raises:
      UserError: a tensor no rule explains, a leaf without tensor, shapes that differ.
    """
    check_name(head, HEADS, 'head policy')
    return _Account(network, source, keymap, head).settle()


class _Account:
    """The bookkeeping of one `explain`: problems are collected, then raised in one line."""

    def __init__(self, network: Network, source: TensorSource, keymap: KeyMap, head: str):
        self.network, self.source, self.keymap, self.policy = network, source, keymap, head
        self.wanted = {key: leaf.shape for key, leaf in leaf_shapes(network).items()}
        self.reads: dict[str, Match] = {}
        self.found: dict[str, tuple[str, Shape]] = {}  # key -> (tensor, shape as a leaf)
        self.resizes: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {}
        self.initialised: dict[str, str] = {}
        self.skipped: dict[str, str] = {}
        self.extra: list[str] = []
        self.problems: list[str] = []
        self.head_in_source = False

    def settle(self) -> Explanation:
        for name in self.source.names:
            self._place(name)
        head = self._settle_head()
        for key, (name, shape) in self.found.items():
            # A table of positions may be of another grid with as many rows, 7x28 for 14x14.
            if shape != self.wanted[key] or self.keymap.position_table(key):
                self._settle_shape(key, name, shape)
        for key in self.wanted:
            if key not in self.found and key not in self.initialised:
                self._settle_missing(key)
        if self.extra or self.problems:
            raise UserError(self._complaint())
        return Explanation(
            self.reads,
            self.resizes,
            self.initialised,
            self.skipped,
            head,
            self.head_in_source,
            tuple(self.wanted),
        )

    def _place(self, name: str) -> None:
        """One tensor: matched with leaves, declared unused, or unexplained."""
        match = self.keymap.match(name)
        if match is None or not any(key in self.wanted for key in match.keys):
            of_head = match is not None and stage_of(match.keys[0]) == 'head'
            if match and of_head and 'head' not in self.network.stages:
                self.skipped[name] = 'the network has no head'
            elif match and of_head and self.network.is_dense != is_of_pixels(match.keys[0]):
                self.skipped[name] = OTHER_HEAD
            elif why := self.keymap.why_unused(name):
                self.skipped[name] = why
            else:
                self.extra.append(name)
            return
        shape = self.source.shape(name)
        try:
            shapes = match.rule.shapes(shape)
        except ValueError:
            needed = ', '.join(f'{self.wanted.get(key)} for {key}' for key in match.keys)
            self.problems.append(f'tensor {name!r} has shape {shape}, which cannot be {needed}')
            shapes = [self.wanted.get(key, ()) for key in match.keys]
        for key, leaf in zip(match.keys, shapes, strict=True):
            if key not in self.wanted:
                self.problems.append(f'tensor {name!r} holds {key}, which the network has not')
            elif key in self.found:
                other = self.found[key][0]
                self.problems.append(f'tensors {other!r} and {name!r} both claim {key}')
            else:
                self.found[key] = (name, leaf)
        self.reads[name] = match

    def _settle_head(self) -> str:
        """Keeps the head whole or replaces it whole; returns 'kept', 'new' or 'none'."""
        if 'head' not in self.network.stages:
            return 'none'
        keys = [key for key in self.wanted if stage_of(key) == 'head']
        found = [key for key in keys if key in self.found]
        self.head_in_source = bool(found)
        # A tensor of the head that other stages share is not in `keys`: nothing to replace.
        differ = [key for key in found if self.found[key][1] != self.wanted[key]]
        classes = [key for key in differ if self.found[key][1][:-1] == self.wanted[key][:-1]]
        if self.policy == 'keep' or not keys:
            return 'kept'
        if self.policy == 'new':
            reason = 'a new head was asked for'
        elif not found:
            reason = 'the checkpoint has no head'
        elif differ and differ == classes:
            old, new = self.found[differ[0]][1][-1], self.wanted[differ[0]][-1]
            reason = f'new head: {old} classes in the checkpoint, {new} here'
        else:
            return 'kept'
        missing = [key for key in keys if key not in self.found]
        if found and missing and self.policy == 'auto':
            self._settle_missing(missing[0])
        for key in found:
            name, _ = self.found.pop(key)
            self.reads.pop(name, None)
            self.skipped[name] = reason
        self.initialised.update(dict.fromkeys(keys, reason))
        return 'new'

    def _settle_shape(self, key: str, name: str, shape: Shape) -> None:
        table, wanted = self.keymap.position_table(key), self.wanted[key]
        if table is not None and len(shape) == 3 and shape[2] == wanted[2]:
            try:
                source = grid_of(shape[1], table.prefix_tokens, table.source_grid)
                target = grid_of(wanted[1], table.prefix_tokens, self.network.grid)
                if source != target:
                    self.resizes[key] = (source, target)
            except UserError as error:
                if shape != wanted:  # else a declared grid that the rows are not of is no grid
                    self.problems.append(f'tensor {name!r}: {error}')
            return
        if shape == wanted:
            return
        own = self.source.shape(name)
        read_as = '' if own == shape else f' (which is {shape} as {key})'
        self.problems.append(
            f'tensor {name!r} has shape {own}{read_as} where the network needs {wanted} for {key}'
        )

    def _settle_missing(self, key: str) -> None:
        if self.keymap.may_initialise(key):
            self.initialised[key] = 'the checkpoint has none'
            return
        expected = self.keymap.source_of(key)
        name = repr(expected[0]) if expected else 'one that no rule of the key map names'
        self.problems.append(f'tensor {name} is missing (for {key})')

    def _explained(self, names: Sequence[str]) -> int:
        return sum(self.keymap.match(name) is not None for name in names)

    def _complaint(self) -> str:
        where = f'{self.source.path} does not fit {self.keymap.family}'
        total, matched = len(self.source.names), len(self.reads)
        if not total:
            return f'{where}: it holds no tensors'
        if prefix := partial_prefix(self.source.names, self.extra, self._explained):
            having = [name for name in self.source.names if name.startswith(prefix)]
            other = next(name for name in self.source.names if not name.startswith(prefix))
            return (
                f'{where}: {len(having)} of {total} tensor names begin with {prefix!r} and the '
                f'others, as {other!r}, do not; give all of them the names of one model: '
                f'save_file({{name.removeprefix({prefix!r}): tensor for name, tensor in '
                "load_file(path).items()}, 'model.safetensors')"
            )
        if matched < total / 2 and self.extra:
            other = family_of_tensors(self.source.names)
            looks = f', it looks like {other}' if other else ''
            return (
                f'{where}: only {matched} of {total} tensors have names of that family{looks}; '
                f'the first without is {self.extra[0]!r}'
            )
        parts = []
        if self.extra:
            missing = [k for k in self.wanted if k not in self.found and k not in self.initialised]
            free = [found[0] for key in missing if (found := self.keymap.source_of(key))]
            hint = did_you_mean(self.extra[0], free, limit=1) if free else ''
            hint = f' ({hint})' if hint.startswith('did') else ''
            parts.append(f'tensor {self.extra[0]!r} is not explained by any rule{hint}')
        parts += self.problems[:2]
        more = len(self.extra) + len(self.problems) - len(parts)
        return f'{where}: ' + '; '.join(parts) + (f'; and {more} more' if more else '')
