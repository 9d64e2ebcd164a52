"""Where PEFT has our layers: modules of a live model of transformers 5."""

from __future__ import annotations

import dataclasses

from ftjax.errors import UserError
from ftjax.models.adapters.adapter import holders
from ftjax.pretrained.keymaps.keymap import KeyMap, Match
from ftjax.pretrained.live_names import renamed
from ftjax.pytrees import Variables


@dataclasses.dataclass(frozen=True)
class Part:
    """One of our layers that has an adapter, and where PEFT has it."""

    at: str
    """Path of our layer with a slash at the end."""
    module: str
    match: Match
    """The rule of the layer's kernel: several keys where the source fuses layers."""

    @property
    def index(self) -> int:
        """Which part of a fused layer it is."""
        return self.match.keys.index(f'params/{self.at}kernel')

    @property
    def is_pointwise(self) -> bool:
        """Whether it is a convolution of one pixel in transformers: tensors end in (1, 1)."""
        return self.match.rule.transform == 'pointwise'


def parts_of(params: Variables, leaf: str, family: str, keymap: KeyMap) -> dict[str, list[Part]]:
    """Module -> our layers with a leaf of this name that it holds; several if it is fused."""
    found: dict[str, list[Part]] = {}
    for at in holders(params, leaf):
        named = keymap.source_of(f'params/{at}kernel')
        if named is None or not named[0].endswith('.weight'):
            raise UserError(f'{family}: {at}kernel is no layer of its own in transformers')
        if named[0].endswith('mlp.weights_in.weight'):
            raise UserError(
                f'{at[:-1]} is a part of a layer that files have fused and live models have '
                'not; export it merged'
            )
        module = renamed(family, named[0].removesuffix('.weight'))
        found.setdefault(module, []).append(Part(at, module, named[1]))
    return found
