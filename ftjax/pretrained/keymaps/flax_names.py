"""The names that transformers 4 gave its Flax models, made from the PyTorch ones.

Its Flax modules had the same attribute names, so only separators, the last word and the
layout differ: `vit.encoder.layer.0.intermediate.dense.weight` (out, in) was saved as
`vit/encoder/layer/0/intermediate/dense/kernel` (in, out). The last word is that of our own
leaf, Flax's in both cases. GPT-2's Conv1D went the other way: its Flax kernel is transposed.
Models with batch statistics were saved as {params: .., batch_stats: ..}.
"""

from __future__ import annotations

import dataclasses

from ftjax.pretrained.keymaps.keymap import KeyMap, Rule

_WORDS = ('weight', 'bias', 'running_mean', 'running_var')
_RMS = ('llama', 'gemma')  # their norms were modules of transformers' own, with a `weight`
_LEAVES = ('kernel', 'scale', 'bias', 'mean', 'var')


def flax_names(keymap: KeyMap) -> KeyMap:
    """The key map for a flax_model.msgpack, from the one for the same model's safetensors.

    >>> from ftjax.pretrained.keymaps.keymap import dense
    >>> flax_names(KeyMap('toy', dense('layer.{i}.fc', 'block_{i:02d}/fc'))).match(
    ...     'layer/3/fc/kernel'
    ... ).keys
    ('params/block_03/fc/kernel',)
    """
    return dataclasses.replace(
        keymap,
        family=f'{keymap.family} (Flax)',
        rules=tuple(_rule(rule, keymap.family in _RMS) for rule in keymap.rules),
        unused=tuple(pattern.replace(r'\.', '/') for pattern in keymap.unused),
        prefixes=(
            *(prefix.replace('.', '/') for prefix in keymap.prefixes),
            *('params/', 'batch_stats/'),
        ),
    )


def _rule(rule: Rule, rms: bool) -> Rule:
    *modules, word = rule.source.split('.')
    leaf = rule.paths[0].rpartition('/')[2]
    transform, split = rule.transform, rule.split
    if word == 'weight' and leaf == 'kernel':
        if transform == 'conv':
            transform = 'copy'
        elif transform in ('dense', 'copy'):
            # A fused tensor is cut along the other axis, its transpose being stored.
            transform, split = {'dense': 'copy', 'copy': 'dense'}[transform], 1 - split
    if word in _WORDS and not (rms and leaf == 'scale'):
        # A table of positions has a name of its own here, and was an nn.Embed there.
        word = leaf if leaf in _LEAVES else 'embedding'
    return dataclasses.replace(
        rule, source='/'.join([*modules, word]), transform=transform, split=split
    )
