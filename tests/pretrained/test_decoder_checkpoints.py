"""Files of decoders: which head they get, old and damaged ones, and folders written again."""

import json
import pathlib
import shutil

import numpy as np
import parity_engine
import pytest
from safetensors.numpy import load_file, save_file

from ftjax.errors import UserError
from ftjax.export.huggingface import save_huggingface, save_inputs
from ftjax.leaves import flatten
from ftjax.models.registry import build
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.preprocessing.tokenizer import digest
from ftjax.pretrained import families
from ftjax.pretrained.open import load_pretrained, outline
from ftjax.pretrained.own_format import save_own


@pytest.fixture
def copy(tmp_path):
    """A copy of a golden's checkpoint, its tensors and its config changed by two functions."""

    def copied(golden, tensors=None, config=None):
        folder = shutil.copytree(parity_engine.GOLDENS / golden / 'model', tmp_path / golden)
        if tensors is not None:
            found = load_file(folder / 'model.safetensors')
            save_file(tensors(found) or found, folder / 'model.safetensors')
        if config is not None:
            found = json.loads((folder / 'config.json').read_text())
            (folder / 'config.json').write_text(json.dumps(config(found) or found))
        return str(folder)

    return copied


def same(one, other):
    one, other = flatten(one), flatten(other)
    assert set(one) == set(other)
    for key, leaf in one.items():
        np.testing.assert_array_equal(leaf, other[key], err_msg=key)


GOLDENS = ['gpt2', 'gpt2_odd', 'gpt2_lm', 'llama_odd', 'llama_lm', 'mistral', 'qwen2', 'qwen3']


@pytest.mark.parametrize('golden', GOLDENS)
def test_own_and_huggingface_folders_open_again(golden, tmp_path):
    found = load_pretrained(str(parity_engine.GOLDENS / golden / 'model'))
    assert (found.preprocessing, found.report.head) == (None, 'kept')
    assert not found.report.initialised
    own = save_own(tmp_path / 'own', found.network, found.variables, None)
    theirs = save_huggingface(tmp_path / 'hf', found.network, found.variables, None)
    for folder in (own, theirs):
        again = load_pretrained(str(folder))
        assert again.network == found.network
        same(again.variables, found.variables)


@pytest.mark.parametrize('golden', ['gpt2_lm', 'llama_lm'])
def test_a_language_model_becomes_a_classifier(golden, tmp_path):
    folder = str(parity_engine.GOLDENS / golden / 'model')
    found = load_pretrained(folder)
    assert found.network.ties == {'head': 'embed/word_embed/embedding'}
    own = str(save_own(tmp_path / 'own', found.network, found.variables, None))
    for source in (folder, own):
        classifier = load_pretrained(source, num_classes=3)
        assert (classifier.report.head, classifier.network.ties) == ('new', {})
        assert list(classifier.report.initialised) == ['params/head/dense/kernel']
        assert classifier.variables['params']['head']['dense']['kernel'].shape == (32, 3)
    assert 'head' not in load_pretrained(folder, num_classes=0).network.stages


def test_a_head_beside_a_tied_table_must_be_that_table(copy):
    table, head = 'transformer.wte.weight', 'lm_head.weight'
    twice = copy('gpt2_lm', lambda tensors: {**tensors, head: tensors[table].copy()})
    assert load_pretrained(twice).network.tied
    shutil.rmtree(twice)
    apart = copy('gpt2_lm', lambda tensors: {**tensors, head: tensors[table] + 1})
    with pytest.raises(UserError, match=r"'lm_head.weight' is 'transformer.wte.weight' once more"):
        load_pretrained(apart)
    found = load_pretrained(apart, options={'tied': False})
    saved = load_file(f'{apart}/model.safetensors')
    np.testing.assert_array_equal(
        found.variables['params']['head']['dense']['kernel'], saved[head].T
    )
    assert load_pretrained(apart, num_classes=3).report.head == 'new'  # the head is left out


def test_an_untied_language_model_becomes_a_classifier(copy):
    def untie(tensors):
        tensors['lm_head.weight'] = tensors['model.embed_tokens.weight'] * 2

    folder = copy('llama_lm', untie, lambda c: {**c, 'tie_word_embeddings': False})
    found = load_pretrained(folder)
    assert found.network.ties == {}
    kernel = found.variables['params']['head']['dense']['kernel']
    table = found.variables['params']['embed']['word_embed']['embedding']
    np.testing.assert_array_equal(kernel, table.T * 2)
    again = load_pretrained(folder, num_classes=3)
    assert again.report.skipped == {
        'lm_head.weight': 'new head: 40 classes in the checkpoint, 3 here'
    }


def test_a_classifier_becomes_a_language_model():
    folder = str(parity_engine.GOLDENS / 'gpt2' / 'model')
    found = load_pretrained(folder, options={'head': 'lm'})
    assert found.network.ties
    assert found.report.skipped == {'score.weight': 'declared unused by the key map'}


def test_a_language_model_without_its_head_is_damaged(copy):
    folder = copy('llama_lm', config=lambda c: {**c, 'tie_word_embeddings': False})
    with pytest.raises(UserError, match=r"'lm_head\.weight' is missing"):
        load_pretrained(folder)
    assert load_pretrained(folder, head='new').report.head == 'new'


def test_gpt2_as_openai_published_it(copy):
    """Without prefix, though the config says language model; masks are among the tensors."""

    def older(tensors):
        bare = {name.removeprefix('transformer.'): array for name, array in tensors.items()}
        for block in range(2):
            bare[f'h.{block}.attn.bias'] = np.tril(np.ones((1, 1, 12, 12), np.float32))
            bare[f'h.{block}.attn.masked_bias'] = np.array(-1e4, np.float32)
        return bare

    found = load_pretrained(copy('gpt2_lm', older))
    want = load_pretrained(str(parity_engine.GOLDENS / 'gpt2_lm' / 'model'))
    assert found.network == want.network
    same(found.variables, want.variables)
    assert len(found.report.skipped) == 4


@pytest.mark.parametrize('scaling', ['rope_scaling', 'rope_parameters'])
def test_config_of_either_version_of_transformers(copy, scaling):
    """Version 4 has rope_theta and rope_scaling, 5 has both in rope_parameters."""

    def rewrite(config):
        rope = {'rope_type': 'llama3', **config.pop('rope_parameters')}
        if scaling == 'rope_scaling':
            config['rope_theta'] = rope.pop('rope_theta')
        return {**config, scaling: rope}

    network = load_pretrained(copy('llama_odd', config=rewrite)).network
    assert network.rope_theta == 50.0
    assert network.rope_scaling == ('llama3', 8.0, 1.0, 4.0, 48.0)


def nan(name):
    def change(tensors):
        tensors[name].flat[3] = np.nan

    return change


def drop(name):
    return lambda tensors: {key: array for key, array in tensors.items() if key != name}


def narrow(name):
    def change(tensors):
        tensors[name] = np.ascontiguousarray(tensors[name][..., :-1])

    return change


@pytest.mark.parametrize(
    ('golden', 'change', 'message'),
    [
        ('gpt2', nan('transformer.h.1.mlp.c_fc.weight'), r'h\.1\.mlp\.c_fc\.weight.* NaN'),
        ('gpt2', narrow('transformer.h.0.attn.c_attn.weight'), r'c_attn\.weight.*\(32, 95\)'),
        ('gpt2', drop('score.weight'), r"'score\.weight' is missing"),
        ('llama_odd', nan('model.layers.0.self_attn.k_proj.bias'), r'k_proj\.bias.* NaN'),
        ('llama_odd', narrow('model.layers.0.mlp.up_proj.weight'), r'up_proj\.weight.*\(40, 31\)'),
        ('llama_odd', drop('model.layers.1.self_attn.o_proj.bias'), r'o_proj\.bias.* is missing'),
        ('qwen3', drop('model.layers.1.self_attn.q_norm.weight'), r'q_norm\.weight.* is missing'),
    ],
)
def test_damage_is_named(copy, golden, change, message):
    with pytest.raises(UserError, match=message):
        load_pretrained(copy(golden, change))


def test_the_wrong_family_is_named(copy):
    wrong = json.loads((parity_engine.GOLDENS / 'gpt2' / 'model' / 'config.json').read_text())
    with pytest.raises(UserError, match=r'does not fit gpt2.* looks like llama'):
        load_pretrained(copy('llama_odd', config=lambda _: wrong))


@pytest.mark.parametrize(
    ('golden', 'fields', 'message'),
    [
        ('gpt2', {'scale_attn_by_inverse_layer_idx': True}, 'scale_attn_by_inverse_layer_idx'),
        ('gpt2', {'scale_attn_weights': False}, 'scale_attn_weights=False'),
        ('llama_odd', {'rope_parameters': {'rope_type': 'yarn', 'factor': 2.0}}, "'yarn'"),
        ('llama_odd', {'hidden_act': 'gelu2'}, "did you mean 'gelu'"),
        (
            'qwen2',
            {
                'use_sliding_window': True,
                'sliding_window': 4,
                'layer_types': ['sliding_attention', 'full_attention'],
            },
            'layer_types',
        ),
    ],
)
def test_variants_that_are_not_supported(copy, golden, fields, message):
    with pytest.raises(UserError, match=message):
        load_pretrained(copy(golden, config=lambda config: {**config, **fields}))


TINY = {'vocab_size': 20, 'width': 16, 'depth': 3, 'heads': 4}


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('gpt2', {'head': 'lm', 'tied': False, 'eos_id': (2, 3), 'act': 'relu'}),
        ('llama', {'rope_scaling': ('linear', 2.0), 'rope_theta': 5e5, 'head_dim': 6}),
        ('llama', {'model_type': 'mistral', 'window': 5, 'kv_heads': 2}),
        ('llama', {'model_type': 'qwen2', 'qkv_bias': True, 'window': 5, 'window_from': 2}),
        ('llama', {'model_type': 'qwen3', 'qk_norm': True, 'num_classes': 4, 'pad_id': 0}),
    ],
)
def test_config_there_and_back(name, options):
    network = build(name, {**TINY, **options})
    family = families.module(families.family_of_network(network))
    config = json.loads(json.dumps(family.config_from_network(network, ())))
    again = family.network_from_config(config)
    if name == 'llama':  # the config spells out what the fields may leave open
        network = network.clone(
            head_dim=network.depth_of_head,
            mlp_dim=network.mlp_width,
            kv_heads=network.kv_heads or network.heads,
        )
    assert again == network


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        ('gpt2', {'num_classes': 2, 'pool': 'mean'}, 'pools the last token'),
        ('llama', {'qkv_bias': True}, 'other biases'),
        ('llama', {'qk_norm': True}, 'no norm on queries'),
        ('llama', {'window': 3}, 'no such window'),
        ('llama', {'model_type': 'mistral', 'mlp_bias': True}, 'no biases in the perceptron'),
        ('llama', {'model_type': 'gemma'}, 'none of llama, mistral'),
    ],
)
def test_networks_without_a_place_in_transformers(name, options, message):
    network = build(name, {**TINY, **options})
    with pytest.raises(UserError, match=message):
        families.module(name).config_from_network(network, ())


def test_the_tokens_that_end_a_text_are_those_of_generation_config(copy):
    folder = pathlib.Path(copy('llama_lm', config=lambda config: {**config, 'eos_token_id': 2}))
    for given, ends in ((None, (2,)), (4, (4,)), ([3, 5], (3, 5))):
        (folder / 'generation_config.json').write_text(json.dumps({'eos_token_id': given}))
        assert outline(str(folder)).network.end_ids == ends
    (folder / 'generation_config.json').write_text('{"eos_token_id": "x"}')
    with pytest.raises(UserError, match=r'generation_config\.json: eos_token_id'):
        outline(str(folder))


def test_an_export_has_the_chat_template_and_how_to_generate(tmp_path):
    from tokenizers import Tokenizer, models

    source = tmp_path / 'source'
    source.mkdir()
    for name in ('chat_template.jinja', 'generation_config.json'):
        (source / name).write_text(name)
    file = source / 'tokenizer.json'
    Tokenizer(models.WordLevel({'<pad>': 0, 'a': 1}, unk_token='a')).save(str(file))
    text = TextPreprocessing(
        tokenizer=str(file),
        sha256=digest(file.read_text()),
        vocab_size=9,
        chat_template='{{ 1 }}',
        chat_tokens=(('bos_token', 'a'),),
    )
    for folder in ('with', 'alone'):
        (tmp_path / folder).mkdir()
        save_inputs(tmp_path / folder, 'llama', text)
        (source / 'chat_template.jinja').unlink(missing_ok=True)
    assert (tmp_path / 'with' / 'chat_template.jinja').read_text() == 'chat_template.jinja'
    assert (tmp_path / 'with' / 'generation_config.json').exists()
    assert (tmp_path / 'alone' / 'chat_template.jinja').read_text() == '{{ 1 }}'
    written = json.loads((tmp_path / 'alone' / 'tokenizer_config.json').read_text())
    assert written == {
        'tokenizer_class': 'PreTrainedTokenizerFast',  # the file, and no class's own reading
        'model_max_length': 128,
        'model_input_names': ['input_ids', 'attention_mask'],
        'pad_token': '<pad>',
        'bos_token': 'a',
    }
