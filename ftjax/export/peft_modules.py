"""Where PEFT has our layers: names of modules in a live model of transformers 5.

For some families they differ from the names of tensors in files.
"""

from __future__ import annotations

import dataclasses

from ftjax.errors import UserError
from ftjax.models.adapters.adapter import holders
from ftjax.pretrained.keymaps.keymap import KeyMap, Match
from ftjax.pytrees import Variables

_QKV = tuple((part, f'{part[0]}_proj') for part in ('query', 'key', 'value'))
_VIT = (
    ('encoder.layer.', 'layers.'),
    *((f'attention.attention.{old}', f'attention.{new}') for old, new in _QKV),
    ('attention.output.dense', 'attention.o_proj'),
    ('intermediate.dense', 'mlp.fc1'),
    ('output.dense', 'mlp.fc2'),
)
# Names in files -> names of modules, replaced in this order.
MODULES: dict[str, tuple[tuple[str, str], ...]] = {
    'vit': _VIT,
    'deit': _VIT,
    'vit_mae': _VIT,
    'beit': _VIT,
    'dinov3': (('layer.', 'model.layer.'),),
    'dinov3_convnext': (('stages.', 'model.stages.'),),
    'dinov2': (*_VIT[1:5], ('mlp.weights_out', 'mlp.down_proj')),
    'swin': (
        *((f'attention.self.{old}', f'attention.{new}') for old, new in _QKV),
        *_VIT[4:],
    ),
}


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


def renamed(family: str, name: str) -> str:
    """A tensor's or module's name in a file as the live model of transformers 5 has it."""
    for old, new in MODULES.get(family, ()):
        name = name.replace(old, new)
    return name


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
