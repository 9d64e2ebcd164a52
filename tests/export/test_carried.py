"""What an export leaves as it was: config.json, names, dtypes, bytes and files of the source."""

import dataclasses
import json
import pathlib
import re
import shutil

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file

from ftjax.errors import UserError
from ftjax.export.origin import LABELS, open_origin
from ftjax.export.weights import export_in_words, export_weights
from ftjax.freezing.plan.plan import as_settings, make_plan
from ftjax.freezing.strategies.adapters import with_adapters
from ftjax.leaves import flatten, unflatten
from ftjax.models.registry import build
from ftjax.pretrained import families
from ftjax.pretrained.initialise import leaf_shapes
from ftjax.pretrained.locate.locate import locate
from ftjax.pretrained.open import describe, load_pretrained, outline
from ftjax.pretrained.own_format import save_own, write_json
from ftjax.pretrained.readers import open_source
from ftjax.pretrained.readers.safetensors_file import write_safetensors

GOLDENS = pathlib.Path(__file__).parents[1] / 'pretrained' / 'goldens'
NAMES = ('ant', 'bee', 'cat')
HEAD = {*LABELS, 'architectures'}
FAMILIES = ('vit', 'bert', 'roberta_odd', 'distilbert', 'gpt2_lm', 'llama_lm', 'resnet', 'swin_odd')


def halved(golden, folder, dtype, shards=2, **fields):
    """A golden's checkpoint in half precision and in shards, with other fields in config.json."""
    folder.mkdir(parents=True)
    source = open_source(GOLDENS / golden / 'model')
    config = json.loads((GOLDENS / golden / 'model' / 'config.json').read_text())
    write_json(folder / 'config.json', {**config, 'dtype': dtype, **fields})
    half, place = np.dtype(getattr(ml_dtypes, dtype, dtype)), {}
    rows = [{} for _ in range(shards)]
    for number, name in enumerate(source.names):
        tensor = source.read(name)
        kept = tensor.dtype if tensor.dtype != np.float32 else half
        rows[number % shards][name] = (kept, tensor.shape, lambda t=tensor, k=kept: t.astype(k))
    for number, row in enumerate(rows):
        file = f'model-{number + 1:05d}-of-{shards:05d}.safetensors'
        file = 'model.safetensors' if shards == 1 else file
        write_safetensors(folder / file, row, {'format': 'pt'})
        place |= dict.fromkeys(row, file)
    if shards > 1:
        index = {'metadata': {'total_size': 1, 'kept': 'x'}, 'weight_map': place}
        write_json(folder / 'model.safetensors.index.json', index)
    return folder


def finished(folder, init, strategy='head', moved=0.125, **options):
    """A finished run's folder: what the plan trains has moved by something."""
    found = load_pretrained(str(init), num_classes=3, class_names=NAMES, **options)
    network, variables = with_adapters(as_settings(strategy), found.network, found.variables)
    plan = make_plan(strategy, network, variables, head_is_new=found.report.head != 'kept')
    trained = {f'params/{path}' for path in plan.trained}
    leaves = {k: x + moved if k in trained else x for k, x in flatten(variables).items()}
    inputs = found.preprocessing
    if getattr(inputs, 'resize', '') == 'crop' and len({*inputs.image_size}) == 2:
        inputs = dataclasses.replace(inputs, resize='squash')  # oblong crops have no export
    save_own(folder / 'model', network, unflatten(leaves), inputs, NAMES)
    write_json(folder / 'config.json', {'init': str(init), 'data': {'source': 'npz:x.npz'}})
    write_json(folder / 'plan.json', plan.to_json())
    write_json(folder / 'result.json', {})
    return folder


def raw(folder):
    """Name -> (file, dtype, bytes) of every tensor in a folder."""
    source = open_source(folder)
    return {
        n: (source.file_of(n), str(source.dtype(n)), source.read(n).tobytes()) for n in source.names
    }


def config_of(folder):
    return json.loads((folder / 'config.json').read_text())


@pytest.mark.parametrize('golden', FAMILIES)
def test_what_did_not_train_stays_as_it_was(golden, tmp_path):
    odd = {'attention_probs_dropout_prob': 0.25, 'my_field': [1, {'a': None}]}
    if golden in ('bert', 'distilbert'):
        odd['pad_token_id'] = 3
    source = halved(golden, tmp_path / 'source', 'bfloat16', **odd)
    run = finished(tmp_path / 'run', source)
    folder = export_weights(run, tmp_path / 'out')
    before, after = config_of(source), config_of(folder)
    assert {k: v for k, v in before.items() if k not in HEAD} == {
        k: v for k, v in after.items() if k not in HEAD
    }
    assert after['id2label'] == dict(zip('012', NAMES, strict=True))
    theirs, ours = raw(source), raw(folder)
    new = {name for name in ours if name not in theirs or ours[name] != theirs[name]}
    heads = ('classifier', 'score', 'pre_classifier')
    assert new and all(name.startswith(heads) for name in new), new
    assert {dtype for _, dtype, _ in ours.values()} <= {'bfloat16', 'int64'}
    left = set(theirs) - set(ours)
    assert all(name.startswith(('lm_head', 'classifier')) for name in left), left
    index = json.loads((folder / 'model.safetensors.index.json').read_text())
    assert index['metadata']['kept'] == 'x' and index['metadata']['total_size'] > 1
    again, run = load_pretrained(str(folder)), load_pretrained(str(run))
    assert again.class_names == NAMES and again.report.head == 'kept'
    for key, leaf in flatten(run.variables).items():
        rounded = np.asarray(leaf).astype(ml_dtypes.bfloat16).astype(np.float32)
        np.testing.assert_array_equal(flatten(again.variables)[key], rounded, err_msg=key)


def test_trained_tensors_are_rounded_or_as_they_were_trained(tmp_path):
    source = halved('vit', tmp_path / 'source', 'float16', shards=1)
    run = finished(tmp_path / 'run', source, 'last:1', moved=1e-4)
    rounded = raw(export_weights(run, tmp_path / 'a'))
    folder = export_weights(run, tmp_path / 'b', dtype='float32')
    exact = raw(folder)
    assert config_of(folder)['dtype'] == 'float32'
    assert {dtype for _, dtype, _ in rounded.values()} == {'float16'}
    moved = {name for name, row in exact.items() if row[1] == 'float32'}
    assert {name.split('.')[0] for name in moved} == {'vit', 'classifier'}
    assert all(row == rounded[name] for name, row in exact.items() if name not in moved)
    run, again = load_pretrained(str(run)), load_pretrained(str(folder))
    for key, leaf in flatten(run.variables).items():
        np.testing.assert_array_equal(flatten(again.variables)[key], leaf)


def test_what_a_dtype_cannot_hold_is_refused(tmp_path):
    source = halved('vit', tmp_path / 'source', 'float16', shards=1)
    run = finished(tmp_path / 'run', source, moved=1e6)
    with pytest.raises(UserError, match=r'too large for float16.*--dtype=float32'):
        export_weights(run, tmp_path / 'out')
    export_weights(run, tmp_path / 'out', dtype='float32')


def test_what_the_run_changed_is_in_config_json(tmp_path):
    source = halved('vit', tmp_path / 'source', 'bfloat16', hidden_dropout_prob=0.1)
    options = {'image_size': 32, 'options': {'dropout': 0.5}}
    run = finished(tmp_path / 'run', source, **options)
    folder = export_weights(run, tmp_path / 'out')
    before, after = config_of(source), config_of(folder)
    changed = {k for k in before if before[k] != after.get(k)} - HEAD
    assert changed == {'image_size', 'hidden_dropout_prob'}
    assert (after['image_size'], after['hidden_dropout_prob']) == (32, 0.5)
    name = 'vit.embeddings.position_embeddings'
    assert raw(folder)[name][1] == 'bfloat16' and raw(folder)[name] != raw(source)[name]
    assert load_pretrained(str(folder)).network == load_pretrained(str(run)).network


def test_a_run_that_began_with_a_run_goes_back_to_its_source(tmp_path):
    source = halved('bert', tmp_path / 'source', 'float16', shards=1)
    first = finished(tmp_path / 'first', source)
    file = first / 'model' / 'config.json'
    own = json.loads(file.read_text())
    write_json(file, {**own, 'provenance': {'init': str(source)}})
    origin = open_origin(str(first))
    assert origin is not None and origin.init == str(source)
    shutil.rmtree(source)
    assert open_origin(str(first)) is None
    assert open_origin('random:' + str(source)) is None and open_origin('') is None


def test_a_kept_head_changes_nothing(tmp_path):
    labels = {'id2label': dict(zip('012', NAMES, strict=True)), 'problem_type': 'x'}
    source = halved('vit', tmp_path / 'source', 'bfloat16', shards=1)
    run = finished(tmp_path / 'run', source)
    first = export_weights(run, tmp_path / 'first')
    write_json(first / 'config.json', {**config_of(first), **labels})
    again = finished(tmp_path / 'again', first, 'last:1', moved=0.0)
    folder = export_weights(again, tmp_path / 'out')
    assert config_of(folder) == config_of(first)
    assert load_file(folder / 'model.safetensors').keys() == raw(first).keys()
    assert raw(folder) == raw(first)


@pytest.mark.parametrize(
    'model, strategy, words',
    [
        ({'pool': 'cls'}, 'head', 'transformers: ViTForImageClassification'),
        ({'pool': 'cls'}, 'lora:2', 'transformers: ViTForImageClassification'),
        ({'pool': 'cls'}, 'adapter:4', 'none .adapter cannot be merged; ftjax itself opens'),
        ({'pool': 'mean'}, 'head', 'none .*pools the class token.*ftjax itself opens'),
    ],
)
def test_it_is_said_before_a_run_whether_it_can_be_exported(model, strategy, words):
    sizes = {'image_size': 8, 'patch_size': 4, 'width': 8, 'depth': 1, 'heads': 2}
    network = build('vit', {**sizes, **model, 'num_classes': 3})
    shapes = unflatten(leaf_shapes(network))
    made, _ = with_adapters(as_settings(strategy), network, shapes)
    assert re.search(words, export_in_words(made))


def carried_on(golden, folder, fields, classes=3, size=None, **options):
    """(config.json of an export, network of the run): a golden with other fields."""
    source = halved(golden, folder / 'source', 'bfloat16', shards=1, **fields)
    network = outline(str(source), num_classes=classes, image_size=size, options=options).network
    origin = open_origin(str(source))
    written = families.module(origin.checkpoint.family).config_from_network(network, ())
    return origin.config_of(network, (), written), network


GEMMA = 'Gemma3ForCausalLM'
LLAMA3 = {
    'rope_type': 'llama3',
    'factor': 8.0,
    'low_freq_factor': 1.0,
    'high_freq_factor': 4.0,
    'original_max_position_embeddings': 48,
}  # as transformers 4 writes it, beside no rope_parameters
TOWER = config_of(GOLDENS / 'clip_classifier' / 'model')['vision_config']
FULL, NEAR = ['full_attention'] * 2, {'sliding_window': 4, 'layer_types': ['sliding_attention'] * 2}


@pytest.mark.parametrize(
    'golden, fields, changes',
    [
        ('qwen3', {'layer_types': FULL}, {'window': 4, 'window_from': 1}),
        ('qwen3', {'layer_types': FULL, 'auto_map': {'AutoModel': 'x.Y'}}, {}),
        ('mistral', NEAR, {'window': None}),
        ('llama', {'rope_parameters': None, 'rope_scaling': LLAMA3}, {'rope_scaling': None}),
        ('distilbert', {'dropout': 0.25, 'seq_classif_dropout': 0.5}, {'pool': 'none'}),
        ('gemma3', {'use_bidirectional_attention': True}, {'causal': True}),
        ('clip_classifier', {'vision_config_dict': TOWER}, {'size': 32}),
    ],
    ids=str,
)
def test_no_field_of_the_source_contradicts_the_run(golden, fields, changes, tmp_path):
    config, network = carried_on(golden, tmp_path, {**fields, 'my_field': 1}, **changes)
    write_json(tmp_path / 'config.json', config)
    again = describe(locate(str(tmp_path)), tensors=False).network()
    assert again == network
    assert config.get('seq_classif_dropout') == fields.get('seq_classif_dropout')
    assert 'auto_map' not in config and config['dtype'] == 'bfloat16'
    assert config.get('my_field') == (None if golden == 'mistral' else 1)


@pytest.mark.parametrize(
    'golden, fields, classes, kind, name',
    [
        ('gemma3', {'architectures': [GEMMA]}, None, 'gemma3_text', GEMMA),
        ('vit_mae', {}, 3, 'vit', 'ViTForImageClassification'),
        ('roberta', {'model_type': 'camembert'}, 0, 'camembert', 'CamembertModel'),
    ],
)
def test_classes_are_those_that_transformers_has(golden, fields, classes, kind, name, tmp_path):
    config, _ = carried_on(golden, tmp_path, fields, classes)
    assert (config['model_type'], config['architectures']) == (kind, [name])
