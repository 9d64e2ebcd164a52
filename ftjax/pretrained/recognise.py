"""How many names of tensors a family or a configuration explains."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ftjax.pretrained import families
from ftjax.pretrained.checkpoint import Checkpoint
from ftjax.pretrained.initialise import leaf_shapes


def recognised(names: Sequence[str]) -> int:
    """All names, if they are of a family, or none."""
    return len(names) if families.family_of_tensors(names) else 0


def explained_by(checkpoint: Checkpoint) -> Callable[[Sequence[str]], int]:
    """How many of some tensor names a checkpoint's configuration explains."""
    if checkpoint.is_own:
        return lambda names: len(leaf_shapes(checkpoint.network()).keys() & set(names))

    def explained(names):
        keymap = families.key_map(checkpoint.family, checkpoint.config, names)
        return sum(keymap.match(n) is not None or keymap.is_unused(n) for n in names)

    return explained
