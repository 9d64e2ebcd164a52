"""What an export says beyond its weights: tokenizer, problem_type, padding, whole PEFT modules."""

import shutil

import numpy as np
import pytest
from finished_runs import GOLDENS, make_run
from safetensors.numpy import load_file

from ftjax.errors import UserError
from ftjax.export.model_card import CardFacts, pipeline_of
from ftjax.export.task_fields import task_fields
from ftjax.export.weights import export_weights
from ftjax.io.json.json_reader import read_object
from ftjax.models.adapters.adapted import merge
from ftjax.models.registry import build
from ftjax.preprocessing.texts import text_preprocessing
from ftjax.pretrained.own_format import write_json

WORDS = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'Paris', 'paris', 'US', 'us')
TEXT = 'Paris US'


def cased(folder):
    """A BERT whose tokenizer keeps capitals, and what its transformers must know for that."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    init = shutil.copytree(GOLDENS / 'bert' / 'model', folder / 'init')
    made = Tokenizer(models.WordPiece({w: i for i, w in enumerate(WORDS)}, unk_token='[UNK]'))
    made.normalizer = normalizers.BertNormalizer(lowercase=False)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(('[SEP]', 3), ('[CLS]', 2))
    made.save(str(init / 'tokenizer.json'))
    write_json(
        init / 'tokenizer_config.json',
        {'tokenizer_class': 'BertTokenizer', 'do_lower_case': False, 'model_max_length': 16},
    )
    write_json(init / 'generation_config.json', {'eos_token_id': 3})
    return init


def run_from(init, folder):
    """A run as training leaves it, with what it began with."""
    make_run(folder, 'bert', 'head', init=init)
    config = read_object(folder / 'model' / 'config.json')
    write_json(folder / 'model' / 'config.json', {**config, 'provenance': {'init': str(init)}})
    return folder


@pytest.fixture(scope='module')
def exports(tmp_path_factory):
    """Of a run, of one that began with that run, and of the first after its init went away."""
    folder = tmp_path_factory.mktemp('chain')
    init = cased(folder)
    first = run_from(init, folder / 'first')
    second = run_from(first, folder / 'second')
    made = {n: export_weights(r, folder / f'out_{n}') for n, r in ((1, first), (2, second))}
    shutil.rmtree(init)
    return {**made, 'alone': export_weights(first, folder / 'out_alone')}


def test_the_tokenizer_of_a_chain_of_runs_comes_along(exports):
    for name in ('tokenizer.json', 'tokenizer_config.json', 'generation_config.json'):
        assert (exports[2] / name).read_bytes() == (exports[1] / name).read_bytes()


def test_a_tokenizer_that_is_all_there_is_is_taken_as_it_is(exports):
    assert read_object(exports['alone'] / 'tokenizer_config.json') == {
        'tokenizer_class': 'PreTrainedTokenizerFast',
        'model_max_length': 16,
        'model_input_names': ['input_ids', 'token_type_ids', 'attention_mask'],
        'pad_token': '[PAD]',
        'mask_token': '[MASK]',
    }


@pytest.mark.torch
@pytest.mark.parametrize('name', [1, 2, 'alone'])
def test_transformers_makes_the_same_tokens(exports, name):
    transformers = pytest.importorskip('transformers')
    tokenizer = transformers.AutoTokenizer.from_pretrained(exports[name])
    assert tokenizer(TEXT)['input_ids'] == [2, 5, 7, 3]


def test_a_vocabulary_alone_comes_along_with_its_flags(tmp_path):
    init = cased(tmp_path)
    (init / 'tokenizer.json').unlink()
    (init / 'vocab.txt').write_text('\n'.join(WORDS))
    out = export_weights(run_from(init, tmp_path / 'run'), tmp_path / 'out')
    assert read_object(out / 'tokenizer_config.json')['do_lower_case'] is False
    assert (out / 'tokenizer.json').exists() and (out / 'vocab.txt').exists()


@pytest.mark.parametrize(
    'task, expected',
    [
        ('multilabel', 'multi_label_classification'),
        ('classification', 'single_label_classification'),
        ('regression', 'regression'),
        ('multiple_choice', None),
    ],
)
def test_the_problem_type_is_that_of_the_task(task, expected):
    network = build('bert', {'vocab_size': 9, 'width': 8, 'depth': 1, 'heads': 2, 'num_classes': 3})
    found = task_fields(network, None, {'data': {'task': task}})
    assert found == {'problem_type': expected}
    assert task_fields(network, None, {'data': {'task': 'of_a_user'}}) == {}


def test_it_replaces_that_of_the_source(tmp_path):
    init = shutil.copytree(GOLDENS / 'bert' / 'model', tmp_path / 'init')
    config = read_object(init / 'config.json')
    write_json(init / 'config.json', {**config, 'problem_type': 'multi_label_classification'})
    for task, expected in (
        ('classification', 'single_label_classification'),
        ('multiple_choice', None),
    ):
        run = tmp_path / task
        make_run(run, 'bert', 'head', init=init)
        config = read_object(run / 'config.json')
        write_json(run / 'config.json', {**config, 'data': {**config['data'], 'task': task}})
        out = export_weights(run, tmp_path / f'out_{task}')
        assert read_object(out / 'config.json').get('problem_type') == expected


def test_a_task_whose_class_is_not_exported_has_no_pipeline():
    for task in ('masked_tokens', 'multiple_choice'):
        facts = CardFacts(
            model_class='N', config={'data': {'task': task}}, plan={}, result={}, takes='texts'
        )
        assert pipeline_of(facts) == ''


def decoder_texts(folder, ending):
    """GPT-2 without a padding token, and a tokenizer that ends texts in its only special token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    made = Tokenizer(models.WordLevel({'a': 0, '</s>': 1, 'b': 2}, unk_token='a'))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    if ending:
        made.post_processor = processors.TemplateProcessing(
            single='$A </s>', pair='$A $B </s>', special_tokens=[('</s>', 1)]
        )
    made.save(str(folder / 'tokenizer.json'))
    network = build('gpt2', {'vocab_size': 3, 'width': 8, 'depth': 1, 'heads': 2, 'num_classes': 2})
    return network, text_preprocessing(network, folder)


@pytest.mark.parametrize('ending, expected', [(False, {'pad_token_id': 1}), (True, {})])
def test_a_classifier_on_a_decoder_says_what_fills_up_texts(ending, expected, tmp_path, caplog):
    network, preprocessing = decoder_texts(tmp_path, ending)
    assert network.pad_id is None and preprocessing.pad_id == 1
    assert task_fields(network, preprocessing, {}) == expected
    assert ('takes texts one by one' in caplog.text) == ending


def pooler_run(folder, strategy='lora:2,16,all'):
    """A BERT whose pooler is new, with an adapter on it."""
    network, variables = make_run(folder, 'bert', strategy)
    drawn = dict.fromkeys(('params/pooler/dense/bias', 'params/pooler/dense/kernel'), 'none')
    write_json(folder / 'load_report.json', {'initialised': drawn})
    return network, variables


def test_an_adapter_on_what_comes_along_whole_is_merged(tmp_path):
    network, variables = pooler_run(tmp_path / 'run')
    out = export_weights(tmp_path / 'run', tmp_path / 'out', adapters='peft')
    config, tensors = (
        read_object(out / 'adapter_config.json'),
        load_file(out / 'adapter_model.safetensors'),
    )
    assert 'bert.pooler.dense' in config['modules_to_save']
    assert not set(config['modules_to_save']) & set(config['target_modules'])
    assert 'bert.encoder.layer.0.output.dense' in config['target_modules']
    start = 'base_model.model.bert.pooler.dense'
    names = {name for name in tensors if name.startswith(start)}
    assert names == {f'{start}.weight', f'{start}.bias'}
    merged = merge(network, variables)[1]['params']['pooler']['dense']['kernel']
    np.testing.assert_array_equal(tensors[f'{start}.weight'], np.asarray(merged).T)
    assert not np.array_equal(merged, variables['params']['pooler']['dense']['kernel'])


@pytest.mark.torch
@pytest.mark.parametrize('strategy', ['lora:2,16,all', 'dora:2,16,all'])
def test_peft_gives_the_logits_of_a_whole_pooler(strategy, tmp_path):
    from test_export_weights import inputs_of, torch_logits

    transformers, peft = pytest.importorskip('transformers'), pytest.importorskip('peft')
    network, variables = pooler_run(tmp_path / 'run', strategy)
    out = export_weights(tmp_path / 'run', tmp_path / 'out', adapters='peft')
    base = transformers.BertForSequenceClassification.from_pretrained(out / 'base')
    model, inputs = peft.PeftModel.from_pretrained(base, str(out)), inputs_of('bert')
    ours = np.asarray(network.apply(variables, inputs))
    np.testing.assert_allclose(torch_logits(model, inputs), ours, atol=1e-4)


def test_rotations_of_a_conv1d_are_refused(tmp_path):
    make_run(tmp_path / 'run', 'gpt2', 'oft:4,fc1')
    with pytest.raises(UserError, match=r'is a Conv1D of transformers.*export it merged'):
        export_weights(tmp_path / 'run', tmp_path / 'out', adapters='peft')
    assert not (tmp_path / 'out').exists()
