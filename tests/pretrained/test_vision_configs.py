"""The vision families' configs: read, written, changed by the user, refused."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from parity_engine import GOLDENS
from safetensors.numpy import load_file, save_file

from ftjax.errors import UserError
from ftjax.export.huggingface import save_huggingface
from ftjax.models.registry import build
from ftjax.pretrained import families
from ftjax.pretrained.families.vision.torchvision_pixels import torchvision_pixels
from ftjax.pretrained.locate import hub
from ftjax.pretrained.open import load_pretrained, outline
from ftjax.pretrained.positions import resize_table
from ftjax.pretrained.readers import open_source

TINY = {'depth': 2, 'width': 16, 'heads': 2, 'image_size': (16, 24), 'patch_size': 8, 'mlp_dim': 24}
TWO = {'depths': (1, 2), 'image_size': (40, 32)}
# Networks that transformers has too: their config must say all of them.
WRITTEN = [
    ('vit', TINY | {'act': 'gelu_tanh', 'qkv_bias': False, 'epsilon': 1e-3}),
    ('vit', TINY | {'num_classes': 0, 'dropout': 0.1}),
    ('deit', TINY),
    ('deit', TINY | {'distilled_head': False, 'channels': 1}),
    ('dinov2', TINY | {'registers': 3, 'mlp_dim': 48, 'drop_path': 0.2}),
    ('dinov2', TINY | {'gated': True, 'mlp_dim': 24, 'num_classes': 0, 'pool': 'cls'}),
    ('clip_vision', TINY | {'num_classes': 0, 'projection': 6}),
    ('clip_vision', TINY | {'pool': 'mean'}),
    ('siglip_vision', TINY | {'num_classes': 0}),
    ('siglip_vision', TINY | {'num_classes': 0, 'pool': 'mean'}),
    ('siglip_vision', TINY | {'pool': 'mean'}),
    ('swin', TWO | {'heads': (1, 2), 'width': 8, 'window': 3, 'absolute_positions': True}),
    ('convnext', TWO | {'widths': (8, 12), 'layer_scale': None, 'act': 'relu'}),
    ('convnext', TWO | {'widths': (8, 12), 'num_classes': 0}),
    ('resnet', {'depths': (1, 2), 'widths': (8, 12), 'stride_first': True, 'act': 'silu'}),
    ('resnet', {'depths': (1,), 'widths': (8,), 'block': 'bottleneck', 'num_classes': 0}),
]


@pytest.mark.parametrize(('model', 'options'), WRITTEN)
def test_config_says_the_whole_network(model, options):
    network = build(model, {'num_classes': 3} | options)
    module = families.module(families.family_of_model(model))
    config = json.loads(json.dumps(module.config_from_network(network, ())))
    assert families.family_of_config(config) == families.family_of_model(model)
    assert module.network_from_config(config) == network
    if network.num_classes:
        named = module.config_from_network(network, ('ant', 'bee', 'cat'))
        assert named['id2label'] == {'0': 'ant', '1': 'bee', '2': 'cat'}


@pytest.mark.parametrize(
    ('model', 'options', 'message'),
    [
        ('vit', TINY | {'pool': 'mean'}, "not 'mean'"),
        ('vit', TINY | {'stem': 'conv'}, 'convolutional stem'),
        ('vit', TINY | {'layer_scale': 0.1}, 'LayerScale'),
        ('dinov2', TINY | {'pool': 'cls'}, 'cls_mean'),
        ('dinov2', TINY | {'mlp_dim': 17}, 'mlp_ratio'),
        ('clip_vision', TINY, "pool 'mean'"),
        ('siglip_vision', TINY, "pool 'mean'"),
    ],
)
def test_what_transformers_cannot_hold_is_refused(model, options, message):
    network = build(model, {'num_classes': 3} | options)
    module = families.module(families.family_of_model(model))
    with pytest.raises(UserError, match=message):
        module.config_from_network(network, ())


@pytest.mark.parametrize('name', ['deit', 'dinov2', 'swin_odd', 'convnext', 'resnet_bottleneck'])
def test_other_classes_get_a_new_head_and_the_trunk_stays(name):
    kept = load_pretrained(str(GOLDENS / name / 'model'))
    new = load_pretrained(str(GOLDENS / name / 'model'), num_classes=7)
    assert (kept.report.head, new.report.head) == ('kept', 'new')
    head = new.variables['params'].pop('head')
    assert head['dense']['kernel'].shape[1] == 7
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(head))
    kept.variables['params'].pop('head')
    jax.tree.map(np.testing.assert_array_equal, new.variables, kept.variables)


def test_whole_clip_becomes_a_classifier_as_in_transformers(tmp_path):
    """The text tower, the projection and the norm it goes round are left over, not an error."""
    tensors = load_file(GOLDENS / 'clip' / 'model' / 'model.safetensors')
    tensors['text_model.embeddings.token_embedding.weight'] = np.ones((3, 2), np.float32)
    tensors['logit_scale'] = np.ones((), np.float32)
    save_file(tensors, tmp_path / 'model.safetensors')
    tower = json.loads((GOLDENS / 'clip' / 'model' / 'config.json').read_text())
    config = {'model_type': 'clip', 'architectures': ['CLIPModel'], 'vision_config': tower}
    (tmp_path / 'config.json').write_text(json.dumps(config | {'projection_dim': 12}))

    whole = load_pretrained(str(tmp_path))
    assert whole.network.stages[-2:] == ('norm', 'pooler')
    assert set(whole.report.skipped) == {
        'text_model.embeddings.token_embedding.weight',
        'logit_scale',
    }
    classifier = load_pretrained(str(tmp_path), num_classes=4)
    assert classifier.network.stages[-2:] == ('pool', 'head')
    assert set(classifier.report.skipped) - set(whole.report.skipped) == {
        'visual_projection.weight',
        'vision_model.post_layernorm.weight',
        'vision_model.post_layernorm.bias',
    }


def test_siglip_becomes_a_classifier_as_in_transformers():
    classifier = load_pretrained(str(GOLDENS / 'siglip' / 'model'), num_classes=4)
    assert classifier.network.stages[-2:] == ('norm', 'head')
    assert all(name.startswith('head.') for name in classifier.report.skipped)


@pytest.mark.parametrize('name', ['vit_odd', 'deit', 'dinov2_registers', 'clip', 'siglip'])
def test_positions_are_resized_to_another_image(name):
    before = load_pretrained(str(GOLDENS / name / 'model'))
    after = load_pretrained(str(GOLDENS / name / 'model'), image_size=(32, 40))
    table = after.variables['params']['embed']['pos_embed']
    down, across = after.network.grid
    prefix = table.shape[1] - down * across
    assert prefix == len(after.network.prefix_tokens)
    old = before.variables['params']['embed']['pos_embed']
    np.testing.assert_array_equal(table[:, :prefix], old[:, :prefix])
    # A resize keeps a constant, and so about keeps the mean.
    np.testing.assert_allclose(table[:, prefix:].mean(), old[:, prefix:].mean(), atol=0.05)
    assert after.preprocessing.image_size == (32, 40)


def transposed(network):
    """An image size with as many patches in another grid, (down, across) -> (across, down)."""
    patch, (down, across) = network.patch_hw, network.patch_grid
    if down == across:
        down, across = down // 2, across * 2
    else:
        down, across = across, down
    return down * patch[0], across * patch[1]


@pytest.mark.parametrize('name', ['vit', 'deit', 'clip', 'siglip', 'dinov2'])
def test_positions_are_resized_to_another_grid_of_as_many_rows(name):
    before = load_pretrained(str(GOLDENS / name / 'model'))
    init, size = str(GOLDENS / name / 'model'), transposed(before.network)
    after = load_pretrained(init, image_size=size)
    old, new = (found.variables['params']['embed']['pos_embed'] for found in (before, after))
    grids, prefix = (before.network.grid, after.network.grid), len(after.network.prefix_tokens)
    assert grids[0] != grids[1]
    assert new.shape == old.shape
    keymap = outline(init, image_size=size).keymap
    antialias = keymap.position_table('params/embed/pos_embed').antialias
    expected = resize_table(old, *grids, prefix_tokens=prefix, antialias=antialias)
    np.testing.assert_array_equal(new, expected)
    assert not np.array_equal(new, old)
    told = after.report.transformed['params/embed/pos_embed']
    assert 'resized {}x{} to {}x{}'.format(*grids[0], *grids[1]) in told


def test_positions_of_swin_are_resized_too():
    options = TWO | {'image_size': (32, 64), 'heads': (1, 2), 'width': 8, 'window': 3}
    network = build('swin', options | {'num_classes': 0, 'absolute_positions': True})
    config = families.module('swin').config_from_network(network, ())
    table = families.key_map('swin', config, ()).position_table('params/embed/pos_embed')
    assert (table.prefix_tokens, table.source_grid) == (0, (8, 16))


def test_scores_for_offsets_are_of_their_own_grid():
    init = str(GOLDENS / 'beit' / 'model')
    network = outline(init).network
    size = transposed(network)
    with pytest.raises(UserError, match=r'are of \d+x\d+ patches .* cannot be resized'):
        outline(init, image_size=size)
    assert outline(init, image_size=network.image_size).network.grid == network.grid


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'model_args': {'embed_dimm': 24}}, "did you mean 'embed_dim'"),
        ({'global_pool': 'avg'}, "global_pool 'avg'"),
    ],
)
def test_timm_configs_that_cannot_be_followed_are_refused(tmp_path, change, message):
    shutil.copytree(GOLDENS / 'vit_timm' / 'model', tmp_path / 'model')
    file = tmp_path / 'model' / 'config.json'
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(UserError, match=message):
        load_pretrained(str(tmp_path / 'model'))


@pytest.mark.parametrize('scheme', ['vit_torchvision', 'vit_timm', 'deit_timm'])
def test_without_a_config_the_width_tells_the_number_of_heads(scheme):
    source = open_source(GOLDENS / scheme / 'model')
    made = families.module(scheme.partition('_')[0]).config_from_tensors
    narrow = source.shape('norm.weight' if 'timm' in scheme else 'encoder.ln.weight')[0]
    shape = source.shape

    def heads(width):
        sizes = {narrow: width, 3 * narrow: 3 * width, 4 * narrow: 4 * width}
        source.shape = lambda name: tuple(sizes.get(size, size) for size in shape(name))
        return made(source)['num_attention_heads']

    found = [heads(width) for width in (64, 192, 512, 1024, 1280)]
    assert found == [1, 3, 8, 16, 16]  # as timm and torchvision have them
    for width in (24, 1152, 1408):
        with pytest.raises(UserError, match=f"'width': {width}, 'heads'"):
            heads(width)


def test_timm_preprocessing_travels():
    found = load_pretrained(str(GOLDENS / 'vit_timm' / 'model')).preprocessing
    assert (found.mean, found.std, found.image_size) == ((0.4,) * 3, (0.3,) * 3, (16, 16))


@pytest.mark.parametrize(
    'name', ['vit_timm', 'vit_augreg', 'vit_torchvision', 'resnet_torchvision']
)
def test_foreign_names_leave_as_transformers(name, tmp_path):
    """A checkpoint of timm, torchvision or AugReg, saved again, opens as transformers' family."""
    first = load_pretrained(str(GOLDENS / name / 'model'))
    save_huggingface(
        tmp_path, first.network, first.variables, first.preprocessing, family=first.family
    )
    second = load_pretrained(str(tmp_path))
    # transformers' ResNet config has no image size.
    assert second.network.stages == first.network.stages
    before = first.preprocessing.with_size(second.preprocessing.image_size)
    assert second.preprocessing.resized == before.resized  # in whole pixels
    fraction = second.preprocessing.crop_fraction
    assert second.preprocessing == dataclasses.replace(before, crop_fraction=fraction)
    jax.tree.map(np.testing.assert_array_equal, second.variables, first.variables)


@pytest.mark.parametrize('name', ['vit_torchvision', 'resnet_torchvision'])
def test_pixels_of_torchvision(name):
    found = outline(str(GOLDENS / name / 'model'))
    pixels, _ = found.preprocessing
    assert (pixels.mean, pixels.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (pixels.interpolation, pixels.resize) == ('bilinear', 'crop')
    assert pixels.with_size((224, 224)).resized == (256, 256)
    large = torchvision_pixels((384, 384))
    assert (large.interpolation, large.resized) == ('bicubic', (384, 384))


def test_a_processor_of_texts_and_images_is_read(tmp_path):
    shutil.copytree(GOLDENS / 'clip' / 'model', tmp_path / 'model')
    part = {'image_processor_type': 'CLIPImageProcessor', 'image_mean': [0.1, 0.2, 0.3]}
    file = tmp_path / 'model' / 'processor_config.json'
    file.write_text(json.dumps({'image_processor': part, 'processor_class': 'CLIPProcessor'}))
    pixels, origin = outline(str(tmp_path / 'model')).preprocessing
    assert (pixels.mean, pixels.interpolation) == ((0.1, 0.2, 0.3), 'bicubic')
    assert origin == 'processor_config.json' and origin in hub.SMALL
    other = tmp_path / 'model' / 'preprocessor_config.json'
    other.write_text(json.dumps({**part, 'image_mean': 0.7}))
    assert outline(str(tmp_path / 'model')).preprocessing[0] == pixels
    file.write_text('{"processor_class": "CLIPProcessor"}')
    assert outline(str(tmp_path / 'model')).preprocessing[0].mean == (0.7,) * 3


def test_unknown_activation_names_the_nearest(tmp_path):
    shutil.copytree(GOLDENS / 'vit_odd' / 'model', tmp_path / 'model')
    file = tmp_path / 'model' / 'config.json'
    file.write_text(json.dumps(json.loads(file.read_text()) | {'hidden_act': 'geluu'}))
    with pytest.raises(UserError, match="'geluu'; did you mean 'gelu'"):
        load_pretrained(str(tmp_path / 'model'))


def test_a_grey_network_is_not_given_the_mean_of_colours(tmp_path):
    """Of a folder without preprocessor_config.json, whose family has ImageNet's numbers."""
    source = GOLDENS / 'convnextv2' / 'model'
    tensors = load_file(source / 'model.safetensors')
    name = next(n for n, x in tensors.items() if x.ndim == 4 and x.shape[1] == 3)
    tensors[name] = np.ascontiguousarray(tensors[name].sum(axis=1, keepdims=True))
    save_file(tensors, tmp_path / 'model.safetensors')
    config = json.loads((source / 'config.json').read_text())
    (tmp_path / 'config.json').write_text(json.dumps({**config, 'num_channels': 1}))
    grey = load_pretrained(str(tmp_path))
    assert (grey.preprocessing.channels, grey.preprocessing.mean) == (1, (0.5,))
    assert any('assumed (mean .5' in note for note in grey.report.notes)
    assert load_pretrained(str(source)).preprocessing.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize(
    'golden, resize', [('vit', 'squash'), ('beit', 'squash'), ('clip', 'crop')]
)
def test_a_bare_size_is_what_the_own_class_of_the_family_takes_it_for(golden, resize, tmp_path):
    shutil.copytree(GOLDENS / golden / 'model', tmp_path / 'model')
    (tmp_path / 'model' / 'preprocessor_config.json').write_text('{"size": 224}')
    assert outline(str(tmp_path / 'model')).preprocessing[0].resize == resize
