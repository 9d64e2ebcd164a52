"""Folders with a config.json: labels, preprocessing and what an export writes."""

import functools
import json

import jax.numpy as jnp
import numpy as np
import pytest

from ftjax.errors import UserError
from ftjax.export.huggingface import save_huggingface
from ftjax.leaves import flatten, unflatten
from ftjax.models.registry import build
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.initialise import leaf_shapes
from ftjax.pretrained.open import load_pretrained

NETWORK = build('resnet_bn_cifar', {'depth': 8, 'width': 8, 'num_classes': 3})
PREPROCESSING = Preprocessing(
    image_size=(32, 32), mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), interpolation='bicubic'
)


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    variables = unflatten(
        {
            key: jnp.asarray(random.uniform(0.1, 1, leaf.shape), jnp.float32)
            for key, leaf in leaf_shapes(NETWORK).items()
        }
    )
    tokenizer = tmp_path / 'tokenizer.json'
    tokenizer.write_text('{"version": "1.0"}')
    return save_huggingface(
        tmp_path / 'hf', NETWORK, variables, PREPROCESSING, ('a', 'b', 'c'), tokenizer=tokenizer
    )


def edit(folder, **fields):
    config = json.loads((folder / 'config.json').read_text())
    (folder / 'config.json').write_text(json.dumps({**config, **fields}))


def test_what_is_written_is_what_is_read(folder, tmp_path):
    found = load_pretrained(str(folder))
    assert found.network == NETWORK
    assert found.class_names == ('a', 'b', 'c')
    assert found.preprocessing == PREPROCESSING
    assert found.tokenizer.read_text() == '{"version": "1.0"}'
    assert found.report.head == 'kept'
    again = save_huggingface(
        tmp_path / 'again', found.network, found.variables, found.preprocessing, found.class_names
    )
    for name in ('model.safetensors', 'config.json', 'preprocessor_config.json'):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_labels(folder):
    edit(folder, id2label={str(i): f'LABEL_{i}' for i in range(3)})
    assert load_pretrained(str(folder)).class_names == ()
    edit(folder, id2label={'10': 'k', '2': 'c', '0': 'a'})
    assert load_pretrained(str(folder)).class_names == ('a', 'c', 'k')
    edit(folder, id2label={'x': 'k'})
    with pytest.raises(UserError, match='id2label'):
        load_pretrained(str(folder))


def test_assumed_preprocessing_is_said(folder):
    (folder / 'preprocessor_config.json').unlink()
    found = load_pretrained(str(folder))
    assert found.preprocessing.mean == (0.485, 0.456, 0.406)
    assert any('the family resnet_cifar' in note for note in found.report.notes)


def cut_head(folder):
    from ftjax.pretrained.readers import open_source
    from ftjax.pretrained.readers.safetensors_file import write_safetensors

    source = open_source(folder)
    rest = {
        name: (source.dtype(name), source.shape(name), functools.partial(source.read, name))
        for name in source.names
        if not name.startswith('linear.')
    }
    write_safetensors(folder / 'model.safetensors', rest)


def test_a_base_model_is_opened_without_head(folder):
    cut_head(folder)
    found = load_pretrained(str(folder))
    assert (found.report.head, found.network.num_classes) == ('none', 0)
    assert load_pretrained(str(folder), num_classes=6).report.head == 'new'


def test_a_classifier_that_lost_its_head_is_an_error(folder):
    cut_head(folder)
    edit(folder, architectures=['ResNetForImageClassification'])
    for num_classes in (None, 3):
        with pytest.raises(UserError, match=r"'linear\.(weight|bias)' is missing"):
            load_pretrained(str(folder), num_classes=num_classes)
    assert load_pretrained(str(folder), num_classes=3, head='new').report.head == 'new'


def test_unknown_model_type(folder):
    edit(folder, model_type='resnet_bn_cifr')
    with pytest.raises(UserError, match=r'known are .*, resnet_bn_cifar, '):
        load_pretrained(str(folder))


def test_msgpack_of_the_same_family_is_no_safetensors(folder):
    """A config.json beside another format still rules: its names must be the family's."""
    import flax.serialization

    found = flatten(load_pretrained(str(folder)).variables)
    (folder / 'model.safetensors').unlink()
    nested = unflatten({key: np.asarray(leaf) for key, leaf in found.items()})
    (folder / 'flax_model.msgpack').write_bytes(flax.serialization.msgpack_serialize(nested))
    with pytest.raises(UserError, match=r'only 0 of .* the first without is'):
        load_pretrained(str(folder))
