"""Runs written for PyTorch: folders, cards and refusals; live, logits equal to transformers'."""

import dataclasses
import json
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from finished_runs import GOLDENS, NAMES, inputs_of, make_run, trained
from safetensors.numpy import load_file

from ftjax.api import finetune
from ftjax.errors import UserError
from ftjax.export.finished_run import open_finished
from ftjax.export.origin import open_origin
from ftjax.export.weights import base_of, export_weights
from ftjax.leaves import flatten, unflatten
from ftjax.models.adapters.adapted import merge
from ftjax.models.registry import build
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.initialise import leaf_shapes
from ftjax.pretrained.open import load_pretrained
from ftjax.pretrained.own_format import save_own, write_json


def same(left, right):
    left, right = flatten(left), flatten(right)
    assert left.keys() == right.keys()
    for key, leaf in left.items():
        np.testing.assert_array_equal(leaf, right[key], err_msg=key)


@pytest.fixture(scope='module')
def image_run(tmp_path_factory):
    """A ViT fine-tuned on coloured noise, through the front door."""
    folder = tmp_path_factory.mktemp('image')
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (60, 16, 16, 3), np.uint8)
    names = np.array(NAMES)
    np.savez(folder / 'x.npz', x=images, y=random.integers(0, 3, 60), class_names=names)
    finetune(
        str(GOLDENS / 'vit' / 'model'),
        f'npz:{folder / "x.npz"}',
        freeze='last:1',
        train={'steps': 3},
        data_settings={'batch_size': 8},
    ).run(folder / 'run', progress=False)
    return folder / 'run'


@pytest.fixture(scope='module')
def text_run(tmp_path_factory):
    """A BERT with a tokenizer, a few steps of plain SGD on all weights."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    folder = tmp_path_factory.mktemp('text')
    words = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'a', 'frozen', 'layer', 'is', 'cold')
    made = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token='[UNK]'))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.BertProcessing(('[SEP]', 3), ('[CLS]', 2))
    init = shutil.copytree(GOLDENS / 'bert' / 'model', folder / 'init')
    made.save(str(init / 'tokenizer.json'))
    write_json(init / 'tokenizer_config.json', {'model_max_length': 16})
    make_run(folder / 'run', 'bert', 'full', trained, init)
    return folder / 'run'


def test_an_image_run_becomes_a_whole_folder(image_run, tmp_path):
    folder = export_weights(image_run, tmp_path / 'out', command='python export')
    names = {
        *('README.md', 'config.json', 'model.safetensors', 'preprocessor_config.json'),
        'training_plan.json',
    }
    assert {path.name for path in folder.iterdir()} == names
    assert [path.name for path in tmp_path.iterdir()] == ['out']
    config = json.loads((folder / 'config.json').read_text())
    assert config['id2label'] == {'0': 'ant', '1': 'bee', '2': 'cat'}
    assert config['label2id'] == {'ant': 0, 'bee': 1, 'cat': 2}
    assert config['architectures'] == ['ViTForImageClassification']
    before, after = load_pretrained(str(image_run)), load_pretrained(str(folder))
    assert (after.preprocessing, after.class_names) == (before.preprocessing, NAMES)
    same(after.variables, before.variables)


def test_the_card_says_how_it_came_to_be(image_run, tmp_path):
    folder = export_weights(image_run, tmp_path / 'out', command='python export me')
    card = (folder / 'README.md').read_text()
    result = json.loads((image_run / 'result.json').read_text())
    low, high = result['metrics']['accuracy_interval']
    total, trainable = result['params_total'], result['params_trainable']
    for line in (
        'pipeline_tag: "image-classification"',
        'Freezing strategy `last:1`.',
        f'{trainable:,} of {total:,} parameters trained ({100 * trainable / total:.3g} %).',
        '- Trained in block_01 .. head; frozen: embed, block_00.',
        f'- fingerprint: `{result["data_fingerprint"]}`',
        f'| accuracy | {100 * result["metrics"]["accuracy"]:.2f} % '
        f'| {100 * low:.2f} % to {100 * high:.2f} % |',
        "model = ViTForImageClassification.from_pretrained('FOLDER')",
        '- exported by `python export me`',
    ):
        assert line in card.splitlines()
    assert f'jax {jax.__version__}' in card


def test_a_card_computes_the_interval_that_is_missing(image_run, tmp_path):
    from ftjax.export.model_card import results_table

    table = results_table({'metrics': {'accuracy': 0.9, 'n': 10}})
    assert '| accuracy | 90.00 % | 59.58 % to 98.21 % |' in table
    assert results_table({'metrics': {}}) == []


@pytest.mark.parametrize(
    ('task', 'takes', 'expected'),
    [
        ('classification', 'texts', 'text-classification'),
        ('token_classification', 'texts', 'token-classification'),
        ('segmentation', 'images', 'image-segmentation'),
        ('regression', 'table', 'tabular-regression'),
        ('regression', 'images', ''),
        ('of_a_user', 'images', ''),
        (None, 'images', ''),
    ],
)
def test_the_pipeline_of_a_card_is_that_of_the_task(task, takes, expected):
    from ftjax.export.model_card import CardFacts, model_card

    config = {'data': {'task': task} if task else {}}
    card = model_card(CardFacts(model_class='N', config=config, plan={}, result={}, takes=takes))
    found = [line for line in card.splitlines() if line.startswith('pipeline_tag')]
    assert found == ([f'pipeline_tag: "{expected}"'] if expected else [])


def test_a_text_run_brings_its_tokenizer(text_run, tmp_path):
    folder = export_weights(text_run, tmp_path / 'out')
    tokenizer = (text_run / 'model' / 'tokenizer.json').read_bytes()
    assert (folder / 'tokenizer.json').read_bytes() == tokenizer
    same(load_pretrained(str(folder)).variables, load_pretrained(str(text_run)).variables)
    card = (folder / 'README.md').read_text()
    assert 'nothing frozen' in card and 'AutoTokenizer' in card
    # What the original had beside its tokenizer comes along, while that is the run's.
    assert (folder / 'tokenizer_config.json').exists()
    copy = shutil.copytree(text_run, tmp_path / 'run')
    write_json(copy / 'config.json', {'init': '/gone', 'data': {'source': 'csv:x'}})
    folder = export_weights(copy, tmp_path / 'alone')
    assert (folder / 'tokenizer.json').read_bytes() == tokenizer
    assert 'Fast' in (folder / 'tokenizer_config.json').read_text()  # one of its own
    assert load_pretrained(str(folder)).preprocessing == load_pretrained(str(copy)).preprocessing


@pytest.mark.parametrize('golden, strategy', [('vit', 'lora:4'), ('bert', 'ia3')])
def test_an_adapted_network_opens_again_and_is_exported_merged(golden, strategy, tmp_path):
    network, variables = make_run(tmp_path / 'run', golden, strategy)
    again = load_pretrained(str(tmp_path / 'run'))
    assert (again.network, again.class_names) == (network, NAMES)
    same(again.variables, variables)
    new = load_pretrained(str(tmp_path / 'run'), num_classes=2, class_names=('x', 'y'))
    assert new.report.head == 'new' and new.network.num_classes == 2
    if golden == 'vit':
        larger = load_pretrained(str(tmp_path / 'run'), image_size=32, options={'dropout': 0.5})
        assert larger.variables['params']['embed']['pos_embed'].shape == (1, 17, 24)
        assert (larger.network.network.dropout, larger.preprocessing.image_size) == (0.5, (32, 32))
        with pytest.raises(UserError, match=r"'dropout'"):
            load_pretrained(str(tmp_path / 'run'), options={'drpout': 0.5})
    folder = export_weights(tmp_path / 'run', tmp_path / 'out')
    found, inputs = load_pretrained(str(folder)), inputs_of(golden)
    np.testing.assert_allclose(
        found.network.apply(found.variables, inputs), network.apply(variables, inputs), atol=1e-5
    )
    assert 'were merged into the weights' in (folder / 'README.md').read_text()


def test_lora_in_pefts_format(tmp_path):
    network, variables = make_run(tmp_path / 'run', 'bert', 'rslora:4')
    folder = export_weights(tmp_path / 'run', tmp_path / 'out', adapters='peft')
    config = json.loads((folder / 'adapter_config.json').read_text())
    fields = ('peft_type', 'r', 'lora_alpha', 'use_rslora', 'use_dora', 'modules_to_save')
    assert [config[name] for name in fields] == ['LORA', 4, 16.0, True, False, ['classifier']]
    queries = 'bert.encoder.layer.{}.attention.self.{}'
    modules = [queries.format(i, part) for i in (0, 1) for part in ('query', 'value')]
    assert config['target_modules'] == modules
    tensors = load_file(folder / 'adapter_model.safetensors')
    start = 'base_model.model.'
    assert set(tensors) == {
        *(f'{start}{module}.lora_{which}.weight' for module in modules for which in 'AB'),
        *(f'{start}classifier.{name}' for name in ('weight', 'bias')),
    }
    params = variables['params']
    query = params['block_01']['attn']['query']
    found = tensors[f'{start}{modules[2]}.lora_A.weight']
    np.testing.assert_array_equal(found, np.asarray(query['lora_a']).T)
    np.testing.assert_array_equal(
        tensors[f'{start}classifier.weight'], np.asarray(params['head']['dense']['kernel']).T
    )
    base = load_pretrained(str(folder / 'base'))
    assert base.network == network.network
    np.testing.assert_array_equal(
        base.variables['params']['block_01']['attn']['query']['kernel'], query['kernel']
    )
    card = (folder / 'README.md').read_text()
    assert 'library_name: "peft"' in card and "from_pretrained(base, 'FOLDER')" in card


@pytest.mark.parametrize(
    'strategy, adapted, whole',
    [
        ('lora:2', None, False),
        ('lora:2+bitfit', None, True),
        ('lora:2', ['params/block_00/norm1/scale'], True),
    ],
)
def test_a_base_on_the_hub_is_named_where_it_stayed_as_it_was(strategy, adapted, whole, tmp_path):
    make_run(tmp_path / 'run', 'bert', strategy)
    if adapted:
        result = json.loads((tmp_path / 'run' / 'result.json').read_text())
        result |= {'adapted': {'method': 'tent', 'moved': adapted}, 'frozen_unchanged': True}
        write_json(tmp_path / 'run' / 'result.json', result)
    config = json.loads((tmp_path / 'run' / 'config.json').read_text())
    write_json(tmp_path / 'run' / 'config.json', {**config, 'init': 'hf://org/net@abc'})
    folder = export_weights(tmp_path / 'run', tmp_path / 'out', adapters='peft')
    config = json.loads((folder / 'adapter_config.json').read_text())
    base = str(folder / 'base') if whole else 'org/net'
    assert (config['base_model_name_or_path'], (folder / 'base').exists()) == (base, whole)
    assert config['revision'] == (None if whole else 'abc')
    card = (folder / 'README.md').read_text()
    assert 'base_model: "org/net"' in card
    assert ("from_pretrained('org/net', revision='abc', num_labels=3" in card) != whole
    assert ('before the adaptation, every frozen leaf was bitwise' in card) == bool(adapted)


def test_a_pooler_that_the_hub_has_not_comes_along(tmp_path):
    make_run(tmp_path / 'run', 'bert', 'lora:2')
    config = json.loads((tmp_path / 'run' / 'config.json').read_text())
    write_json(tmp_path / 'run' / 'config.json', {**config, 'init': 'hf://org/net'})
    drawn = dict.fromkeys(('params/pooler/dense/bias', 'params/pooler/dense/kernel'), 'none')
    write_json(tmp_path / 'run' / 'load_report.json', {'initialised': drawn})
    folder = export_weights(tmp_path / 'run', tmp_path / 'out', adapters='peft')
    config = json.loads((folder / 'adapter_config.json').read_text())
    assert config['base_model_name_or_path'] == 'org/net'
    assert config['modules_to_save'] == ['bert.pooler.dense', 'classifier']
    drawn = {'params/embed/norm/scale': 'none'}
    write_json(tmp_path / 'run' / 'load_report.json', {'initialised': drawn})
    assert base_of(open_finished(tmp_path / 'run')) == ('', '')


def test_a_base_is_written_where_the_hub_has_another(tmp_path):
    make_run(tmp_path / 'run', 'vit', 'lora:2')
    run = open_finished(tmp_path / 'run')
    here = open_origin(run.init)

    def named(init, origin=here, **config):
        changed = dataclasses.replace(run, config={**config, 'init': init})
        vars(changed)['origin'] = origin  # the cached property: the hub is not asked
        return base_of(changed)

    hub = ('org/net', '')
    assert named('hf://org/net', model={'name': 'vit', 'dropout': 0.1}) == hub
    assert named('hf://org/net', data={'image_size': 16}) == hub
    assert named('hf://org/net@v1', data={'image_size': None}) == ('org/net', 'v1')
    config = here.checkpoint.config | {'image_size': 8}
    smaller = dataclasses.replace(here.checkpoint, config=config)
    for other in (dataclasses.replace(here, checkpoint=smaller), None):
        assert named('hf://org/net', other, data={'image_size': 16}) == ('', '')
    assert named('hf://org/net', model={'act': 'relu'}) == ('', '')
    assert named('hf://org/net/part@v1') == ('', '')


@pytest.mark.parametrize(
    'strategy, messages',
    [
        ('adapter:4', {'merged': 'adapter cannot be merged', 'peft': 'not adapter'}),
        ('prompt:2', {'merged': 'prompt cannot be merged'}),
        ('ssf', {'peft': r"PEFT's format .* not ssf; .*merged"}),
        ('head', {'peft': 'trained no adapters.*--adapters=merged', 'pefd': "unknown .* 'pefd'"}),
    ],
)
def test_what_cannot_be_written_is_refused_whole(strategy, messages, tmp_path):
    make_run(tmp_path / 'run', 'vit', strategy)
    for adapters, message in messages.items():
        with pytest.raises(UserError, match=message):
            export_weights(tmp_path / 'run', tmp_path / 'out', adapters=adapters)
    assert [path.name for path in tmp_path.iterdir()] == ['run']


@pytest.mark.parametrize(
    'model, options, message',
    [
        ('vit', {'width': 16, 'depth': 1, 'heads': 2, 'pool': 'mean'}, 'pools the class token'),
        ('resnet_gn_cifar', {'depth': 8, 'width': 8}, 'ResNetGroupNorm has no place in transf'),
    ],
)
def test_a_network_that_transformers_has_not(model, options, message, tmp_path):
    size = {'image_size': 32, 'patch_size': 16} if model == 'vit' else {}
    network = build(model, {**size, **options, 'num_classes': 3})
    shapes = leaf_shapes(network).items()
    variables = unflatten({key: np.zeros(leaf.shape, np.float32) for key, leaf in shapes})
    preprocessing = Preprocessing(image_size=(32, 32))
    save_own(tmp_path / 'run' / 'model', network, variables, preprocessing, NAMES)
    for name in ('config', 'plan', 'result'):
        write_json(tmp_path / 'run' / f'{name}.json', {})
    with pytest.raises(UserError, match=f'{message}.*ftjax itself opens'):
        export_weights(tmp_path / 'run', tmp_path / 'out')
    assert [path.name for path in tmp_path.iterdir()] == ['run']


def test_folders_that_are_no_finished_run(image_run, tmp_path):
    with pytest.raises(UserError, match='is no run folder'):
        export_weights(tmp_path / 'nothing', tmp_path / 'out')
    (tmp_path / 'run').mkdir()
    for name in ('config', 'plan'):
        (tmp_path / 'run' / f'{name}.json').write_text('{}')
    with pytest.raises(UserError, match=r'not finished.*result\.json'):
        export_weights(tmp_path / 'run', tmp_path / 'out')
    (tmp_path / 'run' / 'result.json').write_text('{}')
    with pytest.raises(UserError, match='no network in model/'):
        export_weights(tmp_path / 'run', tmp_path / 'out')
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'mine.txt').write_text('keep me')
    with pytest.raises(UserError, match='not empty; give a new --output'):
        export_weights(image_run, tmp_path / 'full')
    assert (tmp_path / 'full' / 'mine.txt').read_text() == 'keep me'


def test_the_script_in_one_line(image_run, repository, tmp_path):
    script = [sys.executable, str(repository / 'scripts' / 'export.py')]
    done = subprocess.run(
        [*script, f'--workdir={tmp_path}', f'--output={tmp_path / "out"}'],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert 'is no run folder' in done.stderr
    done = subprocess.run(
        [*script, f'--workdir={image_run}', f'--output={tmp_path / "out"}'],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert 'model.safetensors' in done.stdout
    assert 'scripts/export.py' in (tmp_path / 'out' / 'README.md').read_text()


def torch_logits(model, inputs):
    """Logits of a model of transformers for our inputs."""
    import torch

    if isinstance(inputs, dict):
        given = {name: torch.from_numpy(np.asarray(a)).long() for name, a in inputs.items()}
    else:
        given = {'pixel_values': torch.from_numpy(np.array(inputs)).permute(0, 3, 1, 2)}
    with torch.no_grad():
        return model.eval()(**given).logits.numpy()


@pytest.mark.torch
def test_transformers_gives_an_image_runs_logits(image_run, tmp_path):
    transformers = pytest.importorskip('transformers')
    folder = export_weights(image_run, tmp_path / 'out')
    model = transformers.AutoModelForImageClassification.from_pretrained(folder)
    found, inputs = load_pretrained(str(image_run)), inputs_of('vit')
    ours = np.asarray(found.network.apply(found.variables, inputs))
    assert ours.std() > 0.01
    np.testing.assert_allclose(torch_logits(model, inputs), ours, atol=1e-4)
    assert model.config.id2label == dict(enumerate(NAMES))


@pytest.mark.torch
def test_transformers_gives_a_text_runs_logits(text_run, tmp_path):
    transformers = pytest.importorskip('transformers')
    folder = export_weights(text_run, tmp_path / 'out')
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    found = load_pretrained(str(text_run))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = ['a frozen layer is cold', 'a layer is frozen', 'cold']
    inputs = dict(tokenizer(texts, padding=True, return_tensors='np'))
    assert inputs['input_ids'][2].tolist() == [2, 9, 3, 0, 0, 0, 0]
    ours = np.asarray(found.network.apply(found.variables, inputs))
    assert ours.std() > 0.01
    np.testing.assert_allclose(torch_logits(model, inputs), ours, atol=1e-4)
    assert model.config.label2id == {name: index for index, name in enumerate(NAMES)}


PEFT = [
    *(('vit', strategy) for strategy in ('lora:2', 'dora:2', 'ia3')),
    *(('bert', strategy) for strategy in ('lora:2', 'rslora:4', 'dora:2', 'ia3')),
    *(('gpt2', strategy) for strategy in ('lora:2', 'rslora:2', 'dora:2', 'ia3')),
    *((golden, 'lora:2') for golden in ('deit', 'dinov2', 'swin_odd', 'clip_classifier')),
    *((golden, 'ia3') for golden in ('deit', 'dinov2_registers', 'swin_odd', 'distilbert')),
    *((golden, 'oft:4') for golden in ('vit', 'bert')),
    *((golden, 'dora:2') for golden in ('roberta', 'electra', 'distilbert', 'llama', 'qwen3')),
    # Parts of unequal size in one layer; dense layers that are convolutions there.
    *(('phi3', 'dora:2'), ('phi3', 'ia3'), ('efficientnet', 'dora:2,16,all')),
]


@pytest.mark.torch
@pytest.mark.parametrize('golden, strategy', PEFT)
def test_peft_gives_the_adapted_networks_logits(golden, strategy, tmp_path):
    transformers = pytest.importorskip('transformers')
    peft = pytest.importorskip('peft')
    network, variables = make_run(tmp_path / 'run', golden, strategy)
    folder = export_weights(tmp_path / 'run', tmp_path / 'out', adapters='peft')
    inputs = inputs_of(golden)
    config = json.loads((folder / 'base' / 'config.json').read_text())
    base = getattr(transformers, config['architectures'][0]).from_pretrained(folder / 'base')
    before = torch_logits(base, inputs)
    ours = np.asarray(network.apply(variables, inputs))
    model = peft.PeftModel.from_pretrained(base, str(folder))
    np.testing.assert_allclose(torch_logits(model, inputs), ours, atol=1e-4)
    assert np.abs(before - ours).max() > 1e-3, 'the adapters change nothing'
    plain, merged = merge(network, variables)
    np.testing.assert_allclose(plain.apply(merged, inputs), ours, atol=1e-4)
