import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftjax.errors import UserError
from ftjax.pretrained.keymaps.key_template import Template
from ftjax.pretrained.keymaps.keymap import KeyMap, PositionTable, Rule, batch_norm, dense, norm
from ftjax.pretrained.keymaps.transforms import TRANSFORMS, Transform, permute, reshape

MAP = KeyMap(
    'toy',
    (
        *dense('model.layer.{block}.fc', 'block_{block:02d}/mlp/fc1'),
        *norm('model.norm', 'norm/norm'),
        Rule(
            'model.layer.{block}.qkv.weight',
            tuple(f'block_{{block:02d}}/attn/{name}/kernel' for name in ('query', 'key', 'value')),
            'dense',
        ),
        *batch_norm('model.stages.{stage}.{block}.bn', 'stage{stage+1}_block{block}/norm1'),
        Rule('model.pos', 'embed/pos_embed', 'add_axis'),
    ),
    unused=(r'model\.position_ids',),
    prefixes=('model.', 'module.'),
    initialisable=('pooler/.*',),
    positions=(PositionTable('embed/pos_embed', 1),),
)


@given(st.integers(0, 200), st.integers(0, 99))
def test_templates_read_what_they_write(stage, block):
    form = Template('stage{stage+1}.x_{block:02d}')
    assert form.read(form.write({'stage': stage, 'block': block})) == {
        'stage': stage,
        'block': block,
    }


def test_templates_are_literal_and_exact():
    assert Template('a.b').read('axb') is None
    assert Template('a.b').read('a.b') == {}
    assert Template('block_{i:02d}').read('block_3') is None
    assert Template('block_{i}').read('block_03') is None
    assert Template('{i}.{i}').read('1.2') is None
    assert Template('{i}.{i}').read('2.2') == {'i': 2}


@pytest.mark.parametrize(
    'name, keys',
    [
        ('model.layer.3.fc.weight', ('params/block_03/mlp/fc1/kernel',)),
        ('layer.3.fc.weight', ('params/block_03/mlp/fc1/kernel',)),
        ('module.model.layer.3.fc.weight', ('params/block_03/mlp/fc1/kernel',)),
        ('module.layer.12.fc.bias', ('params/block_12/mlp/fc1/bias',)),
        ('model.stages.0.1.bn.running_var', ('batch_stats/stage1_block1/norm1/var',)),
        ('model.stages.0.1.bn.weight', ('params/stage1_block1/norm1/scale',)),
    ],
)
def test_match_with_and_without_prefixes(name, keys):
    assert MAP.match(name).keys == keys


@pytest.mark.parametrize('name', ['model.layer.x.fc.weight', 'model.layer.3.fc.weights', 'pos.x'])
def test_what_no_rule_explains(name):
    assert MAP.match(name) is None
    assert not MAP.is_unused(name)


def test_unused_with_and_without_prefix():
    assert MAP.is_unused('model.position_ids')
    assert MAP.is_unused('position_ids')
    assert MAP.is_unused('module.model.position_ids')
    assert not MAP.is_unused('model.position_ids.x')


def test_the_map_reads_backwards():
    for name in (
        'model.layer.3.fc.weight',
        'model.layer.11.qkv.weight',
        'model.norm.bias',
        'model.stages.2.0.bn.running_mean',
    ):
        for key in MAP.match(name).keys:
            assert MAP.source_of(key)[0] == name
    assert MAP.source_of('params/block_03/mlp/fc9/kernel') is None
    assert MAP.source_of('batch_stats/norm/norm/scale') is None


def test_a_fused_tensor_is_cut_and_joined():
    match = MAP.match('model.layer.0.qkv.weight')
    tensor = np.arange(24.0).reshape(6, 4)
    leaves = match.rule.forward(tensor)
    np.testing.assert_array_equal(leaves[1], tensor[2:4].T)
    np.testing.assert_array_equal(match.rule.inverse(leaves), tensor)
    assert match.rule.shapes((6, 4)) == [(4, 2)] * 3
    with pytest.raises(ValueError, match='equal division'):
        match.rule.shapes((7, 4))


def test_which_leaves_may_be_missing():
    assert MAP.may_initialise('params/pooler/dense/kernel')
    assert not MAP.may_initialise('params/norm/norm/scale')
    assert MAP.position_table('params/embed/pos_embed').prefix_tokens == 1
    assert MAP.position_table('params/embed/cls_token') is None


@pytest.mark.parametrize(
    'transform, shape',
    [
        *((row, (5, 4, 3, 2)) for row in TRANSFORMS.values() if row.name == 'conv'),
        *((row, (5, 4)) for row in TRANSFORMS.values() if row.name in ('dense', 'copy')),
        *((row, (5,)) for row in TRANSFORMS.values() if row.name.startswith('add')),
        (TRANSFORMS['squeeze'], (1, 7)),
        (TRANSFORMS['pointwise'], (5, 4, 1, 1)),
        (TRANSFORMS['channels'], (1, 6, 1, 1)),
        (TRANSFORMS['conv1d'], (5, 4, 3)),
        (reshape('heads', (8, 2, 4), (8, 8)), (8, 2, 4)),
        (permute('roll', 1, 2, 0), (2, 3, 4)),
    ],
    ids=lambda value: value.name if isinstance(value, Transform) else str(value),
)
def test_transforms_come_back_bit_for_bit(transform, shape):
    tensor = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    there = transform.forward(tensor)
    assert transform.shape(shape) == there.shape
    np.testing.assert_array_equal(transform.inverse(there), tensor)


def test_every_transform_is_tested_above():
    assert set(TRANSFORMS) == {
        *('dense', 'conv', 'conv1d', 'copy'),
        *('add_axis', 'add_two_axes', 'squeeze', 'pointwise', 'channels'),
    }


def test_rules_are_checked():
    with pytest.raises(UserError, match="'dense'"):
        Rule('a', 'b', 'dence')
    with pytest.raises(UserError, match='different placeholders'):
        Rule('a.{i}', 'b_{j}')
    with pytest.raises(UserError, match="'batch_stats'"):
        Rule('a', 'b', collection='batch_stat')
