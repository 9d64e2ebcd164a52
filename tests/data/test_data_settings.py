"""Settings are checked once, and name what is wrong."""

import dataclasses

import pytest

from ftjax.data import DataSettings
from ftjax.data.labels.own_keys import OWN_KEYS
from ftjax.data.load import load_data
from ftjax.errors import UserError


@pytest.mark.parametrize(
    'fields, words',
    [
        ({'task': 'clasification'}, ["'clasification'", "'classification'"]),
        ({'augment': 'crop_flp'}, ["'crop_flp'", "'crop_flip'"]),
        ({'augment': 'rotate:x'}, ['rotate:x', 'degrees', 'at least 0 and at most 180']),
        ({'augment': 'flip:'}, ["'flip:'", 'an argument is empty', 'probability']),
        ({'augment': 'flip,,shift:2'}, ["'flip,,shift:2'", 'a name between commas is empty']),
        ({'augment': 'flip:2'}, ['flip:2', 'probability is 2', 'at least 0 and at most 1']),
        ({'augment': 'none:1'}, ['none takes no amount']),
        ({'corruption': 'gausian_noise:0.1'}, ["'gaussian_noise'"]),
        ({'corruption': 'gaussian_noise'}, ['gaussian_noise:0.10']),
        ({'corruption': 'gaussian_noise:nan'}, ['gaussian_noise:0.10']),
        ({'test_fraction': 1.0}, ['data.test_fraction', '1.0']),
        ({'test_fraction': 0.6, 'val_fraction': 0.4}, ['nothing to train on']),
        ({'folds': 1}, ['data.folds', '1', '2 or more']),
        ({'folds': 3, 'fold': 3}, ['data.fold', '3', 'data.folds=3']),
        ({'fold': 1}, ['data.fold', '1', 'data.folds=0']),
        ({'batch_size': 0}, ['data.batch_size', '0']),
        ({'batch_size': True}, ['data.batch_size', 'True']),
        ({'seed': -1}, ['data.seed', '-1']),
        ({'examples_per_class': 2.5}, ['data.examples_per_class', '2.5']),
        ({'examples_per_class': 5, 'task': 'regression'}, ['regression']),
        ({'channels': 4}, ['data.channels', '4']),
        ({'image_size': (32,)}, ['data.image_size', 'height, width']),
        ({'image_size': (0, 3)}, ['data.image_size', 'positive']),
        ({'delimiter': '::'}, ['data.delimiter', 'one character']),
        ({'class_names': ('a', 'a')}, ['data.class_names', 'twice']),
        ({'layout': 'label'}, ['data.layout']),
        ({'verify': 'header'}, ["'headers'"]),
    ],
)
def test_a_value_that_cannot_be_meant_is_named(fields, words):
    with pytest.raises(UserError) as error:
        DataSettings(**fields)
    assert '\n' not in str(error.value)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    'source, words',
    [
        ('digitz', ["'digitz'", "'digits'"]),
        ('digits:scaterred', ["'scattered'"]),
        ('floder:x', ["'folder'"]),
        ('folder', ['folder:PATH']),
        ('tfds:', ['tfds:NAME']),
        ('glyphs:many', ['glyphs:COUNT']),
        ('glyphs:9,', ['glyphs:COUNT,DRAW']),
        ('glyphs:9,1,2', ['glyphs:COUNT,DRAW']),
    ],
)
def test_an_unknown_source_names_the_nearest(source, words):
    with pytest.raises(UserError) as error:
        load_data(DataSettings(source=source))
    for word in words:
        assert word in str(error.value)


def test_lists_from_a_config_become_hashable_tuples():
    settings = DataSettings(class_names=['a', 'b'], image_size=[8, 9])
    assert settings.class_names == ('a', 'b')
    assert settings.image_size == (8, 9)
    assert hash(settings) == hash(dataclasses.replace(settings))
    assert DataSettings(image_size=24).image_size == (24, 24)


OTHERS_KEYS = {
    'ignore_index': (0, 'segmentation'),
    'label_scale': (5.0, 'regression'),
    'label_separator': (';', 'multilabel'),
    'packing': (True, 'causal_lm'),
    'palette': (('#000000', '#ff8000'), 'segmentation'),
    'sliding': (0.5, 'segmentation'),
    'units': ('characters', 'token_classification'),
}


@pytest.mark.parametrize('key', sorted(OTHERS_KEYS))
def test_a_key_that_the_task_does_not_read_is_refused(key):
    value, reader = OTHERS_KEYS[key]
    assert getattr(DataSettings(task=reader, image_size=(8, 8), **{key: value}), key) == value
    with pytest.raises(UserError, match=rf'data\.{key} needs .*; data\.task is classification'):
        DataSettings(**{key: value})
    usual = getattr(DataSettings(), key)
    assert getattr(DataSettings(**{key: usual}), key) == usual


def test_every_key_of_some_labels_is_tried():
    assert set(OTHERS_KEYS) == set(OWN_KEYS)
