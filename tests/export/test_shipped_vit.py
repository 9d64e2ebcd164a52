"""The shipped network with a class token: trained on embedded data, exported, opened elsewhere."""

import json

import numpy as np
import pytest
from PIL import Image

from ftjax.api import finetune
from ftjax.export.weights import export_weights
from ftjax.leaves import flatten
from ftjax.pretrained.locate.locate import SHIPPED
from ftjax.pretrained.open import load_pretrained

SETTINGS = {'batch_size': 25, 'examples_per_class': 10, 'val_per_class': 5}


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """(run, folder for transformers) of a few steps on scattered digits."""
    folder = tmp_path_factory.mktemp('shipped')
    run = finetune(
        'glyphs_cls',
        'digits:scattered',
        freeze='last:1',
        train={'steps': 4, 'report': False},
        data_settings=SETTINGS,
    )
    run.run(folder / 'run', progress=False)
    return folder / 'run', export_weights(folder / 'run', folder / 'out')


def test_it_is_small_and_knows_characters():
    folder = SHIPPED / 'glyphs_cls'
    assert (folder / 'model.safetensors').stat().st_size < 300_000
    made = json.loads((folder / 'config.json').read_text())['provenance']
    assert made['config'] == 'configs/pretrain_glyphs_cls.py'
    assert made['test']['accuracy'] > 0.85


def test_what_is_trained_from_it_is_exported(exported):
    run, folder = exported
    config = json.loads((folder / 'config.json').read_text())
    assert config['architectures'] == ['ViTForImageClassification']
    assert config['id2label'] == {str(digit): str(digit) for digit in range(10)}
    ours, again = load_pretrained(str(run)), load_pretrained(str(folder))
    assert again.preprocessing == ours.preprocessing
    left, right = flatten(ours.variables), flatten(again.variables)
    assert left.keys() == right.keys()
    for key, leaf in left.items():
        np.testing.assert_array_equal(leaf, right[key], err_msg=key)
    before = flatten(load_pretrained('glyphs_cls').variables)
    moved = {
        k.split('/')[1]
        for k, x in left.items()
        if x.shape != before[k].shape or (x != before[k]).any()
    }
    assert moved == {'block_04', 'norm', 'head'}


@pytest.mark.torch
def test_transformers_answers_the_same_for_a_picture(exported):
    import torch
    import transformers

    run, folder = exported
    model = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    ours = load_pretrained(str(run))
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 1), np.uint8)
    given = processor(Image.fromarray(pixels[..., 0]), return_tensors='pt')
    with torch.no_grad():
        theirs = model(**given).logits.numpy()
    inputs = (pixels[None].astype(np.float32) / 255 - 0.5) / 0.5
    answers = np.asarray(ours.network.apply(ours.variables, inputs))
    assert answers.std() > 0.01
    np.testing.assert_allclose(theirs, answers, atol=1e-5)
