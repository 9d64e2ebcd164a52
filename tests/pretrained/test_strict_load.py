"""Strict loading: everything is accounted for, and what is wrong is named (pitfalls 13, 14)."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_engine import GOLDENS

from ftjax.errors import UserError
from ftjax.export.source_names import save_source, to_source
from ftjax.leaves import flatten, unflatten
from ftjax.models.registry import build
from ftjax.pretrained.families.vision.resnet_cifar import BATCH_NORM, GROUP_NORM
from ftjax.pretrained.initialise import leaf_shapes, random_leaves, random_variables
from ftjax.pretrained.open import load_pretrained
from ftjax.pretrained.readers import open_source
from ftjax.pretrained.readers.safetensors_file import write_safetensors
from ftjax.pretrained.strict_load import load_into

OPTIONS = {'depth': 8, 'width': 8, 'num_classes': 5}
NETWORK = build('resnet_bn_cifar', OPTIONS)


@pytest.fixture(scope='module')
def variables():
    return random_variables(NETWORK, seed=1)


@pytest.fixture
def tensors(variables):
    """The source's tensors by name, for a test to spoil."""
    return {name: get() for name, (_, _, get) in to_source(variables, BATCH_NORM).items()}


def write(path, tensors):
    rows = {n: (t.dtype, t.shape, lambda t=t: t) for n, t in tensors.items()}
    write_safetensors(path, rows)
    return open_source(path)


def equal(left, right):
    left, right = flatten(left), flatten(right)
    assert left.keys() == right.keys()
    for key in left:
        assert np.asarray(left[key]).tobytes() == np.asarray(right[key]).tobytes(), key


def test_round_trip_is_bitwise_and_report_complete(tmp_path, variables, tensors):
    back, report = load_into(NETWORK, write(tmp_path / 'x.safetensors', tensors), BATCH_NORM)
    equal(back, variables)
    leaves = set(flatten(variables))
    assert set(report.loaded) | set(report.transformed) == leaves
    assert not set(report.loaded) & set(report.transformed)
    assert not report.initialised
    assert not report.skipped
    assert report.head == 'kept'
    assert list(back['params']) == [name for name in NETWORK.stages if name != 'pool']
    assert report.transformed['params/stem/conv/kernel'] == 'conv1.weight: conv'
    json.dumps(report.to_json())
    save_source(tmp_path / 'back.safetensors', back, BATCH_NORM)
    again = open_source(tmp_path / 'back.safetensors')
    assert set(again.names) == set(tensors)
    for name, tensor in tensors.items():
        assert again.read(name).tobytes() == tensor.tobytes()


def test_prefix_on_the_way_in_and_out(tmp_path, variables):
    save_source(tmp_path / 'x.safetensors', variables, BATCH_NORM, prefix='module.')
    source = open_source(tmp_path / 'x.safetensors')
    assert all(name.startswith('module.') for name in source.names)
    equal(load_into(NETWORK, source, BATCH_NORM)[0], variables)


def test_loaded_network_computes_what_the_saved_one_did(tmp_path, variables, tensors):
    back, _ = load_into(NETWORK, write(tmp_path / 'x.safetensors', tensors), BATCH_NORM)
    images = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))
    np.testing.assert_array_equal(NETWORK.apply(back, images), NETWORK.apply(variables, images))


def test_declared_unused_is_skipped_and_reported(tmp_path, tensors):
    tensors['bn1.num_batches_tracked'] = np.array(3)
    _, report = load_into(NETWORK, write(tmp_path / 'x.safetensors', tensors), BATCH_NORM)
    assert report.skipped == {'bn1.num_batches_tracked': 'declared unused by the key map'}


def remove(name):
    return lambda tensors: tensors.pop(name)


def rename(old, new):
    return lambda tensors: tensors.update({new: tensors.pop(old)})


def change(name, function):
    return lambda tensors: tensors.update({name: function(tensors[name])})


def poison(value):
    def spoil(tensor):
        tensor = tensor.copy()
        tensor.flat[3] = value
        return tensor

    return spoil


@pytest.mark.parametrize(
    'spoil, message',
    [
        (remove('layer2.0.conv2.weight'), "'layer2.0.conv2.weight' is missing"),
        (remove('linear.bias'), "'linear.bias' is missing"),
        (remove('bn1.running_var'), "'bn1.running_var' is missing"),
        (rename('bn1.weight', 'bn1.wieght'), r"'bn1\.wieght' is not explained.*'bn1\.weight'"),
        (
            lambda tensors: tensors.update({'extra.weight': np.zeros(3, np.float32)}),
            "'extra.weight' is not explained",
        ),
        (
            lambda tensors: tensors.update({'module.bn1.weight': np.zeros(8, np.float32)}),
            "'bn1.weight' and 'module.bn1.weight' both claim params/stem/norm/scale",
        ),
        (
            lambda tensors: tensors.update({'layer3.7.bn1.weight': np.zeros(8, np.float32)}),
            "'layer3.7.bn1.weight' is not explained",
        ),
        (
            change('layer1.0.conv1.weight', lambda t: t[:, :4]),
            r"'layer1.0.conv1.weight' has shape \(8, 4, 3, 3\).*\(3, 3, 8, 8\)",
        ),
        (change('bn1.bias', lambda t: t[:4]), r"'bn1.bias' has shape \(4,\).*needs \(8,\)"),
        (
            change('linear.weight', lambda t: t[:, :7]),
            r"'linear.weight' has shape \(5, 7\).*needs \(32, 5\)",
        ),
        (change('layer1.0.conv1.weight', lambda t: t.reshape(-1)), "'layer1.0.conv1.weight' has"),
        (change('bn1.bias', poison(np.nan)), "'bn1.bias' has 1 of 8 values that are NaN"),
        (change('conv1.weight', poison(np.inf)), "'conv1.weight' has 1 of 216 values"),
        (lambda tensors: tensors.clear(), 'it holds no tensors'),
    ],
)
def test_what_is_wrong_is_named(tmp_path, tensors, spoil, message):
    spoil(tensors)
    with pytest.raises(UserError, match=message) as caught:
        load_into(NETWORK, write(tmp_path / 'x.safetensors', tensors), BATCH_NORM)
    assert '\n' not in str(caught.value)


def test_wrong_family_says_which_it_looks_like(tmp_path):
    other = build('resnet_gn_cifar', OPTIONS)
    zeros = {key: np.zeros(leaf.shape, np.float32) for key, leaf in leaf_shapes(other).items()}
    save_source(tmp_path / 'x.safetensors', unflatten(zeros), GROUP_NORM)
    source = open_source(tmp_path / 'x.safetensors')
    with pytest.raises(UserError, match='does not fit resnet_bn_cifar: tensor'):
        load_into(NETWORK, source, BATCH_NORM)
    vit = build('vit', {'image_size': 8, 'patch_size': 4, 'width': 8, 'depth': 1, 'heads': 2})
    keymap = dataclasses.replace(GROUP_NORM, family='other', rules=GROUP_NORM.rules[:1])
    with pytest.raises(UserError, match=r'only 0 of .* looks like resnet_cifar.*first without is'):
        load_into(vit, source, keymap)


def test_head_of_other_classes_is_replaced_whole(tmp_path, variables, tensors):
    source = write(tmp_path / 'x.safetensors', tensors)
    three = NETWORK.clone(num_classes=3)
    back, report = load_into(three, source, BATCH_NORM, seed=7)
    head = {'params/head/dense/bias', 'params/head/dense/kernel'}
    assert report.head == 'new'
    assert set(report.initialised) == head
    assert set(report.skipped) == {'linear.weight', 'linear.bias'}
    assert '5 classes in the checkpoint, 3 here' in report.skipped['linear.weight']
    assert all(np.isfinite(flatten(back)[key]).all() for key in head)
    assert back['params']['head']['dense']['kernel'].std() > 0
    del back['params']['head'], (trunk := dict(variables['params']))['head']
    equal({**back}, {**variables, 'params': trunk})


def test_head_policies(tmp_path, variables, tensors):
    source = write(tmp_path / 'x.safetensors', tensors)
    three = NETWORK.clone(num_classes=3)
    with pytest.raises(UserError, match=r"'linear.weight' has shape \(5, 32\).*\(32, 3\)"):
        load_into(three, source, BATCH_NORM, head='keep')
    back, report = load_into(NETWORK, source, BATCH_NORM, head='new')
    assert report.head == 'new'
    kernel = back['params']['head']['dense']['kernel']
    assert not np.array_equal(kernel, variables['params']['head']['dense']['kernel'])
    _, report = load_into(NETWORK.clone(num_classes=0), source, BATCH_NORM)
    assert report.head == 'none'
    assert report.skipped == dict.fromkeys(
        ['linear.weight', 'linear.bias'], 'the network has no head'
    )
    with pytest.raises(UserError, match="'keep'"):
        load_into(NETWORK, source, BATCH_NORM, head='kept')


def test_a_headless_checkpoint_gets_a_new_head(tmp_path, tensors):
    del tensors['linear.weight'], tensors['linear.bias']
    source = write(tmp_path / 'x.safetensors', tensors)
    _, report = load_into(NETWORK, source, BATCH_NORM)
    assert (report.head, set(report.initialised.values())) == (
        'new',
        {'the checkpoint has no head'},
    )
    with pytest.raises(UserError, match=r"'linear\.(weight|bias)' is missing"):
        load_into(NETWORK, source, BATCH_NORM, head='keep')


def test_initialisable_leaves(tmp_path, tensors):
    del tensors['bn1.weight']
    keymap = dataclasses.replace(BATCH_NORM, initialisable=('stem/norm/scale',))
    source = write(tmp_path / 'x.safetensors', tensors)
    back, report = load_into(NETWORK, source, keymap)
    assert report.initialised == {'params/stem/norm/scale': 'the checkpoint has none'}
    np.testing.assert_array_equal(back['params']['stem']['norm']['scale'], 1)


def test_new_leaves_are_those_of_a_full_initialisation(variables):
    keys = ['params/head/dense/kernel', 'params/stage2_block0/conv1/kernel']
    found = random_leaves(NETWORK, keys, seed=1)
    assert set(found) == set(keys)
    for key in keys:
        np.testing.assert_array_equal(found[key], flatten(variables)[key])


def test_dtype_is_of_parameters_not_of_statistics(tmp_path, tensors):
    half = {name: tensor.astype(np.float16) for name, tensor in tensors.items()}
    source = write(tmp_path / 'x.safetensors', half)
    back, report = load_into(NETWORK, source, BATCH_NORM, dtype=jnp.bfloat16)
    for key, leaf in flatten(back).items():
        assert leaf.dtype == (jnp.bfloat16 if key.startswith('params/') else jnp.float32)
    assert report.transformed['params/stem/norm/scale'] == 'bn1.weight: float16 to bfloat16'
    assert 'float16 to float32' in report.transformed['batch_stats/stem/norm/mean']
    back, _ = load_into(NETWORK, source, BATCH_NORM, head='new', dtype=jnp.bfloat16)
    assert back['params']['head']['dense']['kernel'].dtype == jnp.bfloat16


def test_sharding_is_asked_for_every_leaf(tmp_path, tensors):
    mesh = jax.make_mesh((1,), ('data',), axis_types=(jax.sharding.AxisType.Auto,))
    asked = {}

    def sharding(key, shape):
        asked[key] = shape
        return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())

    source = write(tmp_path / 'x.safetensors', tensors)
    back, _ = load_into(NETWORK, source, BATCH_NORM, head='new', sharding=sharding)
    assert asked == {key: leaf.shape for key, leaf in flatten(back).items()}
    assert all(leaf.sharding.mesh == mesh for leaf in flatten(back).values())


def test_to_source_refuses_what_it_cannot_write(variables):
    extra = {**variables, 'params': {**variables['params'], 'adapter': {'a': np.zeros(2)}}}
    with pytest.raises(UserError, match='no rule of the key map writes params/adapter/a'):
        to_source(extra, BATCH_NORM)


def test_imported_statistics_move_as_pytorch_moves_them(tmp_path, tensors):
    """Pitfall 23: momentum .1 is the new batch's weight; a step must not overwrite 90 %."""
    variables, _ = load_into(NETWORK, write(tmp_path / 'x.safetensors', tensors), BATCH_NORM)
    from ftjax.models.stages import TRAIN

    images = 3 + 2 * jax.random.normal(jax.random.key(0), (4, 32, 32, 3))
    _, changed = NETWORK.apply(
        variables, images, modes=TRAIN, mutable=['batch_stats'], rngs={'dropout': jax.random.key(1)}
    )
    features = jax.lax.conv_general_dilated(
        images, variables['params']['stem']['conv']['kernel'], (1, 1), ((1, 1), (1, 1)),
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )  # fmt: skip
    features = np.asarray(features, np.float64).reshape(-1, 8)
    old, new = variables['batch_stats']['stem']['norm'], changed['batch_stats']['stem']['norm']
    np.testing.assert_allclose(new['mean'], 0.9 * old['mean'] + 0.1 * features.mean(0), rtol=1e-4)
    np.testing.assert_allclose(
        new['var'], 0.9 * old['var'] + 0.1 * features.var(0, ddof=1), rtol=1e-4
    )


def test_load_pretrained_takes_an_explicit_model(tmp_path, variables, tensors):
    write(tmp_path / 'any.safetensors', tensors)
    found = load_pretrained(
        str(tmp_path / 'any.safetensors'), model={'name': 'resnet_bn_cifar', **OPTIONS}
    )
    equal(found.variables, variables)
    with pytest.raises(UserError, match="'width'"):
        load_pretrained(str(tmp_path), model={'name': 'resnet_bn_cifar', 'widht': 3})
    # As a config says it: config.init with config.model.name.
    named = load_pretrained(str(tmp_path), options={'name': 'resnet_bn_cifar', **OPTIONS})
    assert named.network == found.network
    told = "name is 'resnet_bn_cifar', and the network of glyphs is 'vit'"
    with pytest.raises(UserError, match=told):
        load_pretrained('glyphs', options={'name': 'resnet_bn_cifar'})


def test_an_explicit_model_keeps_what_no_config_of_its_family_says(tmp_path):
    sizes = {'image_size': 16, 'patch_size': 8, 'width': 24, 'depth': 2, 'heads': 3}
    model = {**sizes, 'mlp_dim': 40, 'num_classes': 5, 'pool': 'mean', 'dtype': 'bfloat16'}
    golden = open_source(GOLDENS / 'vit' / 'model')
    rows = {name: golden.read(name) for name in golden.names if 'cls_token' not in name}
    table = 'vit.embeddings.position_embeddings'  # transformers pools the class token alone
    write(tmp_path / 'any.safetensors', {**rows, table: rows[table][:, 1:]})
    found = load_pretrained(
        str(tmp_path / 'any.safetensors'),
        model={'name': 'vit', **model, 'drop_path': 0.1},
        options={'drop_path': 0.2},
    )
    assert found.network == build('vit', {**model, 'drop_path': 0.2})
    assert found.report.head == 'kept'
