"""Names of modules in a live model of transformers 5, where its files have others."""

from __future__ import annotations

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


def renamed(family: str, name: str) -> str:
    """A tensor's or module's name in a file as the live model of transformers 5 has it."""
    for old, new in MODULES.get(family, ()):
        name = name.replace(old, new)
    return name
