"""Files of timm for BEiT and ConvNeXt V2: every leaf has one name, and every name one leaf."""

import pytest

from ftjax.errors import UserError
from ftjax.pretrained import families
from ftjax.pretrained.config_check import check_config
from ftjax.pretrained.initialise import leaf_shapes

CONFIGS = {
    'beit_base_patch16_224.in22k_ft_in22k_in1k': {'depth': 2},
    'beit_large_patch16_384': {
        'depth': 1,
        'use_abs_pos_emb': True,
        'use_shared_rel_pos_bias': True,
    },
    'convnextv2_atto.fcmae': {'depths': [1, 1, 2, 1]},
    'convnextv2_huge': {'depths': [1, 1, 1, 1], 'dims': [8, 16, 32, 64]},
}


def opened(architecture, arguments, tmp_path, **more):
    config = {'architecture': architecture, 'num_classes': 3, 'model_args': arguments, **more}
    family = families.family_of_config(config)
    checked, _ = check_config(family, config, tmp_path / 'config.json')
    return family, checked, families.module(family).network_from_config(checked)


@pytest.mark.parametrize('architecture', CONFIGS)
def test_leaves_and_names(architecture, tmp_path):
    family, config, network = opened(architecture, CONFIGS[architecture], tmp_path)
    *_, timm = families.module(family).key_map(config)
    assert timm.family.endswith('(timm)')
    names = {}
    for key in leaf_shapes(network):
        name, match = timm.source_of(key)
        assert key in timm.match(name).keys and key in match.keys
        names.setdefault(name, set()).add(key)
    assert all(names[name] == set(timm.match(name).keys) for name in names)
    assert families.key_map(family, config, names) == timm
    assert network.num_classes == 3


def test_published_names(tmp_path):
    """As the files of both have them."""
    family, config, _ = opened('beit_base_patch16_224', {}, tmp_path)
    *_, timm = families.module(family).key_map(config)
    for name in ('blocks.11.attn.q_bias', 'blocks.0.gamma_2', 'fc_norm.weight', 'head.bias'):
        assert timm.match(name), name
    assert timm.is_unused('blocks.3.attn.relative_position_index')
    family, config, _ = opened('convnextv2_tiny', {}, tmp_path)
    *_, timm = families.module(family).key_map(config)
    for name in ('stages.2.blocks.8.mlp.grn.weight', 'stages.1.downsample.1.bias', 'head.fc.bias'):
        assert timm.match(name), name


def test_what_timm_can_say_and_we_cannot_is_refused(tmp_path):
    with pytest.raises(UserError, match='model_args'):
        opened('convnextv2_tiny', {'use_grn': False}, tmp_path)
    with pytest.raises(UserError, match="only 'avg' is"):
        opened('beit_base_patch16_224', {}, tmp_path, global_pool='token')
