"""Our own format, and what `load_pretrained` makes of folders, runs and random weights."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ftjax.errors import UserError
from ftjax.leaves import flatten, unflatten
from ftjax.models.registry import build
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.initialise import leaf_shapes, random_variables
from ftjax.pretrained.open import load_pretrained
from ftjax.pretrained.own_format import save_own
from ftjax.pretrained.positions import resize_table

NETWORK = build(
    'vit',
    {
        'image_size': (8, 12),
        'patch_size': 4,
        'channels': 1,
        'width': 8,
        'depth': 2,
        'heads': 2,
        'num_classes': 3,
    },
)
PREPROCESSING = Preprocessing(image_size=(8, 12), mean=(0.2,), std=(0.3,), channels=1)
NAMES = ('ant', 'bee', 'cat')


@pytest.fixture(scope='module')
def variables():
    random = np.random.default_rng(0)
    return unflatten(
        {
            key: jnp.asarray(random.normal(size=leaf.shape), jnp.float32)
            for key, leaf in leaf_shapes(NETWORK).items()
        }
    )


@pytest.fixture
def folder(tmp_path, variables):
    return save_own(
        tmp_path / 'net', NETWORK, variables, PREPROCESSING, NAMES, {'trained_on': 'nothing'}
    )


def equal(left, right, but=()):
    left, right = flatten(left), flatten(right)
    assert left.keys() == right.keys()
    for key in left.keys() - set(but):
        assert left[key].dtype == right[key].dtype
        assert np.asarray(left[key]).tobytes() == np.asarray(right[key]).tobytes(), key


def test_round_trip(folder, variables):
    found = load_pretrained(str(folder))
    equal(found.variables, variables)
    assert found.network == NETWORK
    assert found.preprocessing == PREPROCESSING
    assert found.class_names == NAMES
    assert found.report.head == 'kept'
    assert len(found.report.loaded) == len(flatten(variables))
    assert not (found.report.transformed or found.report.initialised or found.report.skipped)
    assert found.config['provenance'] == {'trained_on': 'nothing'}
    assert (found.source, found.revision, found.family) == (str(folder), None, 'ftjax')
    assert sorted(file.name for file in folder.iterdir()) == ['config.json', 'model.safetensors']


def test_bfloat16_comes_back_as_it_was(tmp_path, variables):
    half = unflatten({key: leaf.astype(jnp.bfloat16) for key, leaf in flatten(variables).items()})
    save_own(tmp_path, NETWORK, half, PREPROCESSING)
    equal(load_pretrained(str(tmp_path), dtype=jnp.bfloat16).variables, half)
    assert load_pretrained(str(tmp_path)).report.transformed


def test_a_fine_tuned_head_is_kept_on_reload_and_replaced_for_other_classes(folder, variables):
    kept = load_pretrained(str(folder), num_classes=3)
    equal(kept.variables, variables)
    new = load_pretrained(str(folder), num_classes=4, seed=3)
    assert (new.report.head, new.network.num_classes, new.class_names) == ('new', 4, ())
    assert new.variables['params']['head']['dense']['kernel'].shape == (8, 4)
    none = load_pretrained(str(folder), num_classes=0)
    assert none.report.head == 'none'
    assert none.report.skipped.keys() == {'params/head/dense/kernel', 'params/head/dense/bias'}
    assert 'head' not in none.variables['params']


def test_as_many_classes_under_other_names_are_other_classes(folder):
    assert load_pretrained(str(folder), class_names=NAMES).report.head == 'kept'
    found = load_pretrained(str(folder), class_names=('x', 'y', 'z'))
    assert (found.report.head, found.class_names) == ('new', ('x', 'y', 'z'))
    kept = load_pretrained(str(folder), class_names=('x', 'y', 'z'), head='keep')
    assert kept.report.head == 'kept'


def test_another_image_size_resizes_the_positions(folder, variables):
    found = load_pretrained(str(folder), image_size=(16, 12))
    key = 'params/embed/pos_embed'
    assert found.preprocessing.image_size == (16, 12)
    assert 'resized 2x3 to 4x3' in found.report.transformed[key]
    table = np.asarray(variables['params']['embed']['pos_embed'])
    expected = resize_table(table, (2, 3), (4, 3), prefix_tokens=1, antialias=True)
    np.testing.assert_array_equal(found.variables['params']['embed']['pos_embed'], expected)
    logits = found.network.apply(found.variables, jnp.zeros((2, 16, 12, 1)))
    assert logits.shape == (2, 3)
    square = load_pretrained(str(folder), image_size=8)
    assert square.network.image_size == 8
    lying = load_pretrained(str(folder), image_size=(12, 8))  # as many rows
    expected = resize_table(table, (2, 3), (3, 2), prefix_tokens=1, antialias=True)
    np.testing.assert_array_equal(lying.variables['params']['embed']['pos_embed'], expected)


def test_random_weights_of_the_same_network(folder, variables):
    found = load_pretrained(f'random:{folder}', num_classes=5, seed=4)
    assert found.preprocessing == PREPROCESSING
    assert found.report.head == 'new'
    assert set(found.report.initialised) == set(flatten(found.variables))
    equal(found.variables, random_variables(NETWORK.clone(num_classes=5), 4))
    other = load_pretrained(f'random:{folder}', num_classes=5, seed=5)
    key = 'params/block_00/attn/query/kernel'
    assert not np.array_equal(flatten(found.variables)[key], flatten(other.variables)[key])


def test_random_weights_go_where_they_are_sent(folder):
    mesh = jax.make_mesh((1,), ('data',), axis_types=(jax.sharding.AxisType.Auto,))
    there = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    found = load_pretrained(f'random:{folder}', num_classes=5, sharding=lambda key, shape: there)
    assert all(leaf.sharding == there for leaf in flatten(found.variables).values())


def test_other_fields_can_be_replaced(folder):
    found = load_pretrained(str(folder), options={'dropout': 0.25})
    assert found.network.dropout == 0.25
    with pytest.raises(UserError, match="'dropout'"):
        load_pretrained(str(folder), options={'droput': 0.25})


def test_a_finished_run_stands_for_its_network(tmp_path, variables):
    run = tmp_path / 'run'
    run.mkdir()
    (run / 'plan.json').write_text('{}')
    (run / 'config.json').write_text('{}')
    with pytest.raises(UserError, match='run that has not finished'):
        load_pretrained(str(run))
    save_own(run / 'model', NETWORK, variables, PREPROCESSING, NAMES)
    equal(load_pretrained(str(run)).variables, variables)


def test_a_flipped_bit_is_found(folder):
    path = folder / 'model.safetensors'
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match='SHA-256'):
        load_pretrained(str(folder))


def edit(folder, **fields):
    config = json.loads((folder / 'config.json').read_text())
    config.update(fields)
    text = {key: value for key, value in config.items() if value != 'remove'}
    (folder / 'config.json').write_text(json.dumps(text))


@pytest.mark.parametrize(
    'fields, message',
    [
        ({'model': 'vitt'}, "'vit'"),
        ({'model': 'remove'}, 'model or options are missing'),
        ({'options': {'widht': 3}}, "'width'"),
        ({'options': {'width': 16, 'heads': 2, 'depth': 2}}, 'has shape'),
        ({'preprocessing': None}, 'preprocessing is missing'),
        ({'format': 'other'}, 'no config.json beside it, and no family recognises'),
        ({'format': 'other', 'model_type': 'bertt'}, "'bertt'"),
    ],
)
def test_a_wrong_config(folder, fields, message):
    edit(folder, **fields)
    with pytest.raises(UserError, match=message):
        load_pretrained(str(folder))


def test_a_broken_config(folder):
    (folder / 'config.json').write_text('{"format"')
    with pytest.raises(UserError, match='is not JSON'):
        load_pretrained(str(folder))
    (folder / 'config.json').write_text('[]')
    with pytest.raises(UserError, match='a JSON object expected'):
        load_pretrained(str(folder))


def test_a_lost_head_is_an_error_not_a_new_head(tmp_path, variables):
    params = {name: stage for name, stage in variables['params'].items() if name != 'head'}
    save_own(tmp_path, NETWORK, {'params': params}, PREPROCESSING)
    for num_classes in (None, 3, 7):
        with pytest.raises(UserError, match="'params/head/dense/kernel' is missing"):
            load_pretrained(str(tmp_path), num_classes=num_classes)
    assert load_pretrained(str(tmp_path), num_classes=7, head='new').report.head == 'new'


def test_what_cannot_be_saved(tmp_path, variables):
    with pytest.raises(UserError, match='2 class names for 3 classes'):
        save_own(tmp_path / 'a', NETWORK, variables, PREPROCESSING, ('x', 'y'))
    with pytest.raises(TypeError):
        save_own(tmp_path / 'a', NETWORK, variables, PREPROCESSING, NAMES, {'x': {1, 2}})
    assert not (tmp_path / 'a').exists()
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match='cannot write'):
        save_own(tmp_path / 'file' / 'net', NETWORK, variables, PREPROCESSING)


def test_saving_again_leaves_other_files_alone(folder, variables):
    (folder / 'README.md').write_text('card')
    more = unflatten({key: leaf + 1 for key, leaf in flatten(variables).items()})
    save_own(folder, NETWORK, more, PREPROCESSING, NAMES)
    assert (folder / 'README.md').read_text() == 'card'
    equal(load_pretrained(str(folder)).variables, more)


def test_a_tokenizer_travels(tmp_path, variables):
    (tmp_path / 'tokenizer.json').write_text('{}')
    folder = save_own(
        tmp_path / 'net', NETWORK, variables, PREPROCESSING, tokenizer=tmp_path / 'tokenizer.json'
    )
    assert load_pretrained(str(folder)).tokenizer == folder / 'tokenizer.json'


def test_names_that_are_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv('FTJAX_DATA', str(tmp_path / 'none'))
    for init, message in (
        ('glyfs', 'no pretrained network'),
        ('random:glyfs', 'no pretrained network'),
        ('data:x', 'set FTJAX_DATA'),
        ('hf://a/b//c', 'expected hf://'),
        ('hf://', 'expected hf://'),
    ):
        with pytest.raises(UserError, match=message):
            load_pretrained(init)
    (tmp_path / 'none' / 'resnet').mkdir(parents=True)
    (tmp_path / 'none' / 'resnet' / 'model.safetensors').touch()
    with pytest.raises(UserError, match="'resnet'"):
        load_pretrained('data:resnett')


def test_report_table_names_every_exception(folder):
    found = load_pretrained(str(folder), num_classes=2, image_size=(16, 12))
    table = found.report.table()
    for text in ('head new', 'resized params/embed/pos_embed', 'skipped params/head/dense/bias'):
        assert text in table
    assert dataclasses.replace(found.report, notes=('x',)).to_json()['notes'] == ['x']
    assert pathlib.Path(found.report.source).name == 'model.safetensors'
