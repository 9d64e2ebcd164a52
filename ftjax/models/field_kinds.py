"""What the fields of networks may be, by name: whoever builds one by name and options is checked.

Options come from a config, or from a file that somebody else wrote. Types follow from a
family's own annotations; ranges of the names that families share are listed here.
"""

from __future__ import annotations

from collections.abc import Mapping

from ftjax.field_types import check_fields
from ftjax.io.json.json_values import (
    Either,
    Integer,
    Kind,
    ListOf,
    Null,
    Number,
    Text,
    check_table,
    optional,
)

_SIDE = Integer(1, 2**16)
_SIDES = Either(_SIDE, ListOf(_SIDE, 2, 2))
_SHARE = Number(0, 1, high_belongs=False)
_HEADS = Integer(1, 4096)
_TOKEN = Integer(-1, 2**31 - 1)

KINDS: dict[str, Kind] = {
    'image_size': _SIDES,
    'patch_size': _SIDES,
    'channels': Integer(1, 4096),
    'width': Integer(1, 2**16),
    'stem_width': Integer(1, 2**16),
    'widths': ListOf(Integer(1, 2**16), 1, 16),
    'embedding_size': optional(Integer(1, 2**16)),
    'mlp_dim': optional(Integer(1, 2**20)),
    'mlp_ratio': Number(0, 1000, low_belongs=False),
    'projection': Integer(0, 2**20),
    'depth': Integer(1, 2048),
    'depths': ListOf(Integer(1, 256), 1, 16),
    'heads': Either(_HEADS, ListOf(_HEADS, 1, 16)),
    'kv_heads': optional(_HEADS),
    'head_dim': optional(Integer(1, 2**16)),
    'window': optional(Integer(1, 2**31 - 1)),
    'window_from': Integer(0, 2**16),
    'features': Integer(0, 2**20),
    'codes': ListOf(Integer(1, 2**20), 0, 4096),
    'code_width': Integer(1, 2**12),
    'target_mean': Number(-1e30, 1e30),
    'target_scale': Number(0, 1e30, low_belongs=False),
    'inputs': Integer(1, 2**31 - 1),
    'num_classes': Integer(0, 2**31 - 1),
    'vocab_size': Integer(1, 2**31 - 1),
    'max_positions': Integer(1, 2**31 - 1),
    'token_types': Integer(0, 2**16),
    'registers': Integer(0, 2**16),
    'pad_id': optional(_TOKEN),
    'bos_id': optional(_TOKEN),
    'eos_id': Either(_TOKEN, Null(), ListOf(_TOKEN)),
    'epsilon': Number(0, 1),
    'inner_epsilon': Number(0, 1),
    'pretrained_windows': ListOf(Integer(0, 2**16), 1, 16),
    'dropout': Number(0, 1),
    'attention_dropout': Number(0, 1),
    'mlp_dropout': Number(0, 1),
    'head_dropout': Number(0, 1),
    'drop_path': _SHARE,
    'layer_scale': optional(Number(-1e6, 1e6)),
    'rope_theta': Number(0, 1e30, low_belongs=False),
    'rope_scaling': optional(ListOf(Either(Text(), Number(0, 1e30, low_belongs=False)), 1, 4096)),
    'local_theta': optional(Number(0, 1e30, low_belongs=False)),
    'query_scale': optional(Number(0, 1e30, low_belongs=False)),
    'attention_cap': optional(Number(0, 1e30, low_belongs=False)),
    'logit_cap': optional(Number(0, 1e30, low_belongs=False)),
    'rotary_part': Number(0, 1, low_belongs=False),
    'full_blocks': optional(ListOf(Integer(0, 2047), 0, 2048)),
    'groups': Integer(1, 2048),
    'width_factor': Number(0, 100, low_belongs=False),
    'depth_factor': Number(0, 100, low_belongs=False),
    'divisor': Integer(1, 2**12),
    'repeats': ListOf(Integer(1, 256), 1, 16),
    'entries': ListOf(Integer(1, 2**16), 1, 16),
    'kernels': ListOf(Integer(1, 63), 1, 16),
    'strides': ListOf(Integer(1, 2), 1, 16),
    'expansions': ListOf(Integer(1, 256), 1, 16),
    'even_blocks': ListOf(Integer(0, 2**16), 0, 4096),
    'squeeze': Number(0, 1, low_belongs=False),
    'momentum': Number(0, 1),
    'expansion_momentum': Number(0, 1),
    'buckets': Integer(0, 2**20),
    'farthest': Integer(0, 2**20),
    'conv_size': Integer(0, 2**10),
    'conv_groups': Integer(1, 2**16),
    'pooler_dropout': Number(0, 1),
    'dtype': optional(Text(choices=('float32', 'bfloat16', 'float16', 'float64'))),
}


def check_options(cls: type, options: Mapping[str, object], where: str) -> None:
    """Refuses options that a family's network cannot have.

    Args:
      cls: the family's class; its annotations say the types.
      options: by field.
      where: printed before the field's name in the message.

    Raises:
      UserError: naming the field, what was found and what was expected.
    """
    if cls.__module__.startswith('ftjax.'):  # in a network of somebody's own, names are theirs
        check_fields(cls, options, where)
        check_table(options, KINDS, where)
