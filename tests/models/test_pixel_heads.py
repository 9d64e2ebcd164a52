"""Heads of every position: shapes, the same in parts as whole, resizing, and refusals."""

import functools

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from ftjax import registry
from ftjax.errors import UserError
from ftjax.export.weights import export_in_words
from ftjax.models.adapters.adapted import adapted
from ftjax.models.adapters.lora import LoRA
from ftjax.models.adapters.prompt import Prompt
from ftjax.models.layers.pixel_heads import PixelHead, SummedHead
from ftjax.models.layers.resize import bilinear_matrix, resized, resized_on_host
from ftjax.models.registry import build
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.initialise import random_variables
from ftjax.pretrained.open import load_pretrained
from ftjax.pretrained.own_format import save_own

SQUARE = {'image_size': 28, 'patch_size': 7, 'depth': 3, 'width': 16, 'heads': 2}
SMALL = {
    'vit': {**SQUARE, 'image_size': (14, 28), 'pool': 'mean'},
    'deit': SQUARE,
    'dinov2': {**SQUARE, 'registers': 2},
    'dinov3': {**SQUARE, 'registers': 2},
    'swin': {'depths': (1, 1, 1), 'heads': (1, 1, 2), 'width': 8, 'window': 2, 'image_size': 32},
    'convnext': {'depths': (1, 1, 1), 'widths': (8, 12, 16), 'image_size': 32},
    'resnet': {'depths': (1, 1, 1), 'widths': (8, 12, 16), 'stem_width': 8, 'image_size': 32},
}
GRIDS = {'vit': (2, 4), 'deit': (4, 4), 'dinov2': (4, 4), 'dinov3': (4, 4)}


def made(family, head):
    network = build(family, {**SMALL[family], 'num_classes': 5, 'head': head})
    images = jax.random.normal(jax.random.key(1), network.example_input(2).shape)
    return network, network.init(jax.random.key(0), images), images


def forget_outside(family, hidden):
    """The tokens that are no patches, of a network of tokens."""
    rows, columns = GRIDS[family]
    return hidden.shape[1] - rows * columns


@pytest.mark.parametrize(
    ('family', 'head'), [('vit', 'fpn:8'), ('dinov2', 'linear'), ('resnet', 'fpn:8')]
)
def test_a_network_in_two_parts_gives_the_logits_of_the_whole(family, head):
    network, variables, images = made(family, head)
    grid = GRIDS.get(family, (8, 8) if head == 'fpn:8' else (2, 2))
    whole = network.apply(variables, images)
    assert whole.shape == (2, *grid, 5) and whole.dtype == jnp.float32
    for cut in network.stages[1:]:
        before = network.apply(variables, images, stop=cut)
        assert all(len(leaf) == 2 for leaf in jax.tree.leaves(before))
        np.testing.assert_array_equal(network.apply(variables, before, start=cut), whole)


@pytest.mark.slow
@pytest.mark.parametrize('family', sorted(SMALL))
@pytest.mark.parametrize('head', ['linear', 'fpn:8'])
def test_every_family_with_every_head_too(family, head):
    test_a_network_in_two_parts_gives_the_logits_of_the_whole(family, head)


def test_the_pyramid_reads_the_end_of_each_stage_and_quarters_of_a_flat_network():
    flat = build('vit', {'num_classes': 5, 'head': 'fpn'})
    assert flat.tapped == ('block_02', 'block_05', 'block_08')
    deep = build('resnet', {'num_classes': 5, 'head': 'fpn'})
    assert deep.tapped == ('stage1_block1', 'stage2_block1', 'stage3_block1')
    assert deep.stages[-2:] == ('stage4_block1', 'head')
    assert build('vit', {'num_classes': 5}).tapped == ()
    assert build('vit', {'num_classes': 0, 'head': 'fpn'}).tapped == ()


def test_class_token_and_registers_do_not_reach_the_head():
    network, variables, images = made('dinov2', 'linear')
    before = network.apply(variables, images, stop='norm')
    assert forget_outside('dinov2', before['hidden']) == 3
    other = {'hidden': before['hidden'].at[:, :3].add(7.0)}
    one, two = (network.apply(variables, each, start='norm') for each in (before, other))
    np.testing.assert_array_equal(one, two)


def test_the_linear_head_is_the_classifier_of_each_patch():
    network, variables, images = made('vit', 'linear')
    tokens = network.apply(variables, images, stop='norm')['hidden']
    norm = variables['params']['norm']['norm']
    mean, deviation = tokens.mean(-1, keepdims=True), tokens.std(-1, keepdims=True)
    normal = (tokens - mean) / jnp.sqrt(deviation**2 + 1e-6) * norm['scale'] + norm['bias']
    last = variables['params']['head']['pixel_logits']
    expected = normal @ last['kernel'] + last['bias']
    np.testing.assert_allclose(
        network.apply(variables, images), expected.reshape(2, 2, 4, 5), atol=1e-5
    )


def test_resizing_is_that_of_jax_and_the_same_on_the_host():
    maps = np.random.default_rng(0).normal(size=(2, 3, 5, 2)).astype(np.float32)
    for size in ((12, 7), (3, 11), (6, 5)):
        found = resized(jnp.asarray(maps), size)
        expected = jax.image.resize(maps, (2, *size, 2), 'bilinear', antialias=False)
        np.testing.assert_allclose(found, expected, atol=1e-6)
        host = np.stack([resized_on_host(each, size) for each in maps])
        np.testing.assert_allclose(host, found, atol=1e-6)
    assert bilinear_matrix(4, 4).tolist() == np.eye(4).tolist()


@pytest.mark.torch
@pytest.mark.parametrize('size', [(9, 14), (2, 3), (5, 5)])
def test_resizing_is_that_of_torch(size):
    import torch

    maps = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype(np.float32)
    expected = torch.nn.functional.interpolate(
        torch.tensor(maps).permute(0, 3, 1, 2), size=size, mode='bilinear', align_corners=False
    )
    expected = expected.permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(resized(jnp.asarray(maps), size), expected, atol=1e-6)


@pytest.mark.parametrize(
    ('family', 'head', 'words'),
    [
        ('beit', 'linear', "BEiT: head 'linear' needs a map of the image"),
        ('vit', 'liner', "ViT: unknown head 'liner'; did you mean 'linear'"),
        ('vit', 'fpn:0', 'width is 0; expected a number'),
    ],
)
def test_heads_that_there_are_not_are_refused(family, head, words):
    with pytest.raises(UserError) as found:
        build(family, {'head': head})
    assert words in str(found.value)


def test_a_checkpoint_changes_its_head_and_keeps_it(tmp_path):
    options = {**SMALL['dinov2'], 'num_classes': 5}
    preprocessing = Preprocessing(image_size=(28, 28))
    pooled = build('dinov2', options)
    names = tuple('abcde')
    save_own(
        tmp_path / 'pooled', pooled, random_variables(pooled, 0), preprocessing, class_names=names
    )
    given = {'num_classes': 5, 'class_names': names}
    dense = load_pretrained(str(tmp_path / 'pooled'), options={'head': 'fpn:8'}, **given)
    assert dense.report.head == 'new' and dense.network.is_dense
    save_own(tmp_path / 'dense', dense.network, dense.variables, preprocessing, class_names=names)
    again = load_pretrained(str(tmp_path / 'dense'), **given)
    assert again.report.head == 'kept' and again.network == dense.network
    jax.tree.map(np.testing.assert_array_equal, again.variables, dense.variables)
    back = load_pretrained(str(tmp_path / 'dense'), options={'head': 'pooled'}, **given)
    assert back.report.head == 'new' and not back.network.is_dense
    other = load_pretrained(str(tmp_path / 'dense'), num_classes=3)
    assert other.report.head == 'new' and other.network.is_dense


def test_transformers_has_no_such_head():
    said = export_in_words(build('vit', {**SMALL['vit'], 'pool': 'cls', 'head': 'linear'}))
    assert said.startswith('export to transformers: none (ViT answers each position of an image')


@pytest.mark.slow
def test_adapters_leave_the_head_its_patches():
    network, variables, images = made('dinov2', 'fpn:8')
    expected = network.apply(variables, images)
    low = adapted(network, [LoRA(rank=2)])
    assert low.is_dense and low.tapped == network.tapped
    found = {**random_variables(low, 0)['params'], **variables['params']}
    assert set(found) == set(network.stages)
    prompted = adapted(network, [Prompt(tokens=3)])
    started = random_variables(prompted, 0)
    shape = jax.eval_shape(prompted.apply, started, images).shape
    assert shape == expected.shape == (2, 4, 4, 5)
    state = prompted.apply(started, images, stop='norm')
    assert state['tap_0'].shape == (2, 4, 4, 16) and state['hidden'].shape == (2, 19, 16)


def test_a_head_of_ones_own_is_named_like_the_shipped_ones(monkeypatch):
    monkeypatch.setitem(registry.PARTS, 'head', dict(registry.parts('head')))

    @registry.register('head', 'coarse', details=PixelHead(2))
    def coarse(classes, normalised, width: int = 4):
        """Two maps, summed."""
        return functools.partial(SummedHead, classes, normalised, width)

    network = build('dinov2', {**SMALL['dinov2'], 'num_classes': 5, 'head': 'coarse:6'})
    assert network.tapped == ('block_01',)
    shapes = jax.eval_shape(network.init, jax.random.key(0), network.example_input())
    assert shapes['params']['head']['pixel_map_0']['kernel'].shape == (16, 6)


@pytest.mark.slow
def test_a_program_takes_any_number_of_images():
    network, variables, images = made('dinov2', 'fpn:8')
    (count,) = jax.export.symbolic_shape('n')
    given = jax.ShapeDtypeStruct((count, *images.shape[1:]), jnp.float32)
    found = jax.export.export(jax.jit(network.apply))(variables, given)
    expected = network.apply(variables, images)
    np.testing.assert_allclose(found.call(variables, images), expected, atol=1e-6)
