"""The names of AugReg's .npz files, which big_vision and vision_transformer write."""

from __future__ import annotations

from ftjax.io.json.json_values import JsonObject
from ftjax.pretrained.keymaps.keymap import Rule
from ftjax.pretrained.keymaps.transforms import reshape

BLOCK = 'block_{block:02d}'
QKV = ('query', 'key', 'value')


def augreg_rules(options: JsonObject) -> tuple[Rule, ...]:
    """Flax's own layout: kernels (in, out), but heads on an axis of their own."""
    width, heads = options['width'], options['heads']
    split = (heads, width // heads)
    kernel = reshape('join heads', (width, *split), (width, width))
    bias = reshape('join heads', split, (width,))
    out = reshape('join heads', (*split, width), (width, width))
    block = 'Transformer/encoderblock_{block}'
    attention = f'{block}/MultiHeadDotProductAttention_1'

    def copied(source, path, leaves):
        return tuple(Rule(f'{source}/{leaf}', f'{path}/{leaf}') for leaf in leaves)

    weights, scales = ('kernel', 'bias'), ('scale', 'bias')
    return (
        Rule('cls', 'embed/cls_token'),
        Rule('Transformer/posembed_input/pos_embedding', 'embed/pos_embed'),
        *copied('embedding', 'embed/patch_embed', weights),
        *copied(f'{block}/LayerNorm_0', f'{BLOCK}/norm1', scales),
        *(Rule(f'{attention}/{n}/kernel', f'{BLOCK}/attn/{n}/kernel', kernel) for n in QKV),
        *(Rule(f'{attention}/{n}/bias', f'{BLOCK}/attn/{n}/bias', bias) for n in QKV),
        Rule(f'{attention}/out/kernel', f'{BLOCK}/attn/out/kernel', out),
        Rule(f'{attention}/out/bias', f'{BLOCK}/attn/out/bias'),
        *copied(f'{block}/LayerNorm_2', f'{BLOCK}/norm2', scales),
        *copied(f'{block}/MlpBlock_3/Dense_0', f'{BLOCK}/mlp/fc1', weights),
        *copied(f'{block}/MlpBlock_3/Dense_1', f'{BLOCK}/mlp/fc2', weights),
        *copied('Transformer/encoder_norm', 'norm/norm', scales),
        *copied('head', 'head/dense', weights),
    )
