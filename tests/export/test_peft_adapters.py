"""Adapters in PEFT's format are opened with their base: what PEFT computes, and what is refused."""

import json
import shutil

import numpy as np
import pytest
from finished_runs import GOLDENS, NAMES, inputs_of, make_run
from safetensors.numpy import load_file, save_file

from ftjax.errors import UserError
from ftjax.export.finished_run import open_finished
from ftjax.export.weights import export_weights, new_beside
from ftjax.leaves import flatten
from ftjax.pretrained.locate import hub
from ftjax.pretrained.open import load_pretrained
from ftjax.pretrained.own_format import write_json
from ftjax.pretrained.peft.merging import neumann

WRITTEN = [
    *(('vit', strategy) for strategy in ('dora:2', 'ia3', 'oft:4')),
    *(('bert', 'rslora:4'), ('gpt2', 'lora:2')),
]
MORE = [
    *(('bert', 'lora:2+bitfit'), ('gpt2', 'dora:2'), ('gpt2', 'ia3'), ('swin_odd', 'lora:2')),
    *(('roberta', 'dora:2'), ('phi3', 'dora:2'), ('efficientnet', 'dora:2,16,all')),
]


@pytest.mark.parametrize(
    'golden, strategy',
    [*WRITTEN, *(pytest.param(*given, marks=pytest.mark.slow) for given in MORE)],
)
def test_what_we_wrote_is_read_again(golden, strategy, tmp_path):
    network, variables = make_run(tmp_path / 'run', golden, strategy)
    folder = export_weights(tmp_path / 'run', tmp_path / 'out', adapters='peft')
    found, inputs = load_pretrained(str(folder)), inputs_of(golden)
    ours, base = network.apply(variables, inputs), load_pretrained(str(folder / 'base'))
    np.testing.assert_allclose(found.network.apply(found.variables, inputs), ours, atol=1e-5)
    assert np.abs(base.network.apply(base.variables, inputs) - ours).max() > 1e-3
    assert found.report.head == 'kept' and found.network.num_classes == len(NAMES)
    assert any('adapter of' in note for note in found.report.notes)
    # Another task begins from the merged weights, with a head of its own.
    assert load_pretrained(str(folder), num_classes=7).report.head == 'new'


@pytest.fixture
def adapter(tmp_path):
    """A folder of PEFT that may be spoilt; its base lies in it."""
    make_run(tmp_path / 'run', 'bert', 'lora:2')
    return export_weights(tmp_path / 'run', tmp_path / 'out', adapters='peft')


def changed(folder, tensors=None, **fields):
    """The folder with other fields, and with what a function makes of its tensors."""
    config = json.loads((folder / 'adapter_config.json').read_text())
    write_json(folder / 'adapter_config.json', {**config, **fields})
    if tensors is not None:
        weights = folder / 'adapter_model.safetensors'
        save_file(tensors(load_file(weights)), weights)


def shapes(params):
    return {key: leaf.shape for key, leaf in flatten(params).items()}


def same(left, right):
    left, right = flatten(left), flatten(right)
    for key, leaf in right.items():
        np.testing.assert_array_equal(left[key], leaf, err_msg=key)


QUERY = 'base_model.model.bert.encoder.layer.0.attention.self.query'
REFUSED = {
    'kind': ({'peft_type': 'LORRA'}, None, r"'LORRA'.*did you mean 'LORA'"),
    'none': ({'peft_type': None}, None, 'peft_type'),
    'value': ({'lora_alpha': 'much'}, None, "lora_alpha is 'much'; expected a number"),
    'pissa': ({'init_lora_weights': 'pissa_niter_4'}, None, r'init_lora_weights is .*merge_and'),
    'layers': ({'layer_replication': [[0, 1], [0, 2]]}, None, 'layer_replication is'),
    'pattern': ({'alpha_pattern': {'(': 4}}, None, 'is no pattern of names'),
    'repeats': ({'alpha_pattern': {r'(\w+)+$': 4}}, None, 'repeats groups'),
    'twice': (
        {},
        lambda given: {**given, f'{QUERY}.lora_A.weight'[17:]: given[f'{QUERY}.lora_A.weight']},
        r'are both for .*query\.weight',
    ),
    'dora': ({'use_dora': True}, None, 'has no lora_magnitude_vector'),
    'empty': ({}, lambda given: {}, 'no tensor of an adapter'),
    'magnitude': (
        {},
        lambda given: {f'{QUERY}.lora_magnitude_vector': np.ones(8, np.float32)},
        'does not go with lora_magnitude_vector',
    ),
    'classes': (
        {},
        lambda given: {**given, 'base_model.model.classifier.weight': np.array(1, np.float32)},
        r'classifier\.weight of the adapter has shape \(\)',
    ),
    'coft': ({'coft': True}, None, r'coft is True.*merge_and_unload'),
    'layer': (
        {},
        lambda given: {**given, f'{QUERY}s.lora_A.weight': np.ones((2, 8), np.float32)},
        r'acts on bert\.encoder\.layer\.0\.attention\.self\.querys, which the network .* has not',
    ),
    'half': (
        {},
        lambda given: {k: x for k, x in given.items() if k != f'{QUERY}.lora_B.weight'},
        r'of encoder.*lora_A\.weight and lora_B\.weight is missing|of bert.*is missing',
    ),
    'shape': (
        {},
        lambda given: {**given, f'{QUERY}.lora_B.weight': np.ones((3, 2), np.float32)},
        r'has shape .* in the network, which does not go with lora_',
    ),
    'part': (
        {},
        lambda given: {**given, f'{QUERY}.lora_B.bias': np.ones(8, np.float32)},
        'of no known kind',
    ),
}


@pytest.mark.parametrize('case', REFUSED)
def test_what_does_not_fit_is_said(case, adapter):
    fields, tensors, said = REFUSED[case]
    changed(adapter, tensors, **fields)
    with pytest.raises(UserError, match=said):
        load_pretrained(str(adapter))


def test_a_pickle_is_not_opened(adapter):
    (adapter / 'adapter_model.safetensors').rename(adapter / 'adapter_model.bin')
    with pytest.raises(UserError, match='is a pickle'):
        load_pretrained(str(adapter))


def test_the_base_is_found_beside_it_or_asked_for(adapter, tmp_path):
    changed(adapter, base_model_name_or_path='/gone/base')
    inside = load_pretrained(str(adapter / 'adapter_model.safetensors')).variables
    shutil.move(adapter / 'base', tmp_path / 'elsewhere')
    with pytest.raises(UserError, match=r"base_model_name_or_path is '/gone/base'.*folder base"):
        load_pretrained(str(adapter))
    changed(adapter, base_model_name_or_path=str(tmp_path / 'elsewhere'))
    params = load_pretrained(str(adapter)).variables['params']
    query = [tree['block_00']['attn']['query']['kernel'] for tree in (params, inside['params'])]
    np.testing.assert_array_equal(*query)
    write_json(tmp_path / 'elsewhere' / 'adapter_config.json', {'peft_type': 'LORA'})
    (tmp_path / 'elsewhere' / 'model.safetensors').rename(tmp_path / 'elsewhere' / 'kept')
    write_json(adapter / 'config.json', {})
    for name in (str(adapter), str(tmp_path / 'elsewhere'), 'x' * 5000, 'a\0b', ''):
        changed(adapter, base_model_name_or_path=name)
        with pytest.raises(UserError, match='base_model_name_or_path'):
            load_pretrained(str(adapter))


def test_names_of_transformers_4_are_known(tmp_path):
    make_run(tmp_path / 'run', 'vit', 'lora:2')
    folder = export_weights(tmp_path / 'run', tmp_path / 'out', adapters='peft')
    new = load_pretrained(str(folder)).variables
    names = {'.layers.': '.encoder.layer.', '.q_proj': '.attention.query'}

    def older(tensors):
        for now, before in {**names, '.v_proj': '.attention.value'}.items():
            tensors = {name.replace(now, before): x for name, x in tensors.items()}
        return tensors

    changed(folder, older)
    written = load_file(folder / 'adapter_model.safetensors')
    assert any('encoder.layer.0.attention.attention.query' in name for name in written)
    same(load_pretrained(str(folder)).variables, new)


def test_a_table_that_comes_along_may_be_adapted_and_longer(adapter):
    at, rank = 'base_model.model.bert.embeddings.word_embeddings', 2
    params = load_pretrained(str(adapter / 'base')).variables['params']
    rows, width = next(x for k, x in shapes(params).items() if 'word' in k or 'token' in k)
    draw = np.random.default_rng(0)
    table = draw.normal(size=(rows + 3, width)).astype(np.float32)
    a, b = (draw.normal(size=(rank, n)).astype(np.float32) for n in table.shape)
    parts = {f'{at}.base_layer.weight': table, f'{at}.lora_embedding_A': a}
    changed(adapter, lambda given: {**given, **parts, f'{at}.lora_embedding_B': b.T.copy()})
    found = load_pretrained(str(adapter))
    assert found.network.vocab_size == len(table)
    leaves = flatten(found.variables['params'])
    merged = next(x for k, x in leaves.items() if 'word' in k or 'token' in k)
    np.testing.assert_allclose(merged, table + 16 / rank * (a.T @ b), rtol=1e-4, atol=1e-4)


def test_a_table_that_also_scores_is_not_changed_on_one_side(tmp_path):
    make_run(tmp_path / 'run', 'gpt2', 'lora:2')
    folder = export_weights(tmp_path / 'run', tmp_path / 'out', adapters='peft')
    config = json.loads((folder / 'base' / 'config.json').read_text())
    write_json(folder / 'base' / 'config.json', {**config, 'architectures': ['GPT2LMHeadModel']})
    table = {'base_model.model.transformer.wte.weight': np.ones((4, 8), np.float32)}
    changed(folder, lambda given: {**given, **table}, auto_mapping=None)
    with pytest.raises(UserError, match=r'embeds and scores tokens.*ensure_weight_tying'):
        load_pretrained(str(folder))


def test_its_own_tokenizer_goes_first(adapter):
    assert load_pretrained(str(adapter)).tokenizer is None
    (adapter / 'tokenizer.json').write_text('{}')
    assert load_pretrained(str(adapter)).tokenizer == adapter / 'tokenizer.json'


def test_a_run_that_began_with_an_adapter_is_exported_whole(adapter, tmp_path):
    network, variables = make_run(tmp_path / 'later', 'bert', 'lora:2', init=adapter)
    report = load_pretrained(str(adapter), num_classes=3).report
    assert 'merged with its adapter' in ' '.join(report.transformed.values())
    write_json(tmp_path / 'later' / 'load_report.json', report.to_json())
    assert new_beside(network, open_finished(tmp_path / 'later'))[1]
    inputs = inputs_of('bert')
    expected = network.apply(variables, inputs)
    for adapters in ('peft', 'merged'):
        folder = export_weights(tmp_path / 'later', tmp_path / adapters, adapters=adapters)
        found = load_pretrained(str(folder))
        assert found.report.head == 'kept'
        assert adapters == 'peft' or not list(folder.glob('adapter_model*'))
        logits = found.network.apply(found.variables, inputs)
        np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_a_base_in_our_own_format_is_refused(adapter, tmp_path):
    changed(adapter, base_model_name_or_path=str(tmp_path / 'run' / 'model'))
    with pytest.raises(UserError, match='in the format of ftjax'):
        load_pretrained(str(adapter))


def test_random_weights_are_those_of_the_base(adapter):
    found = load_pretrained(f'random:{adapter}', num_classes=3)
    assert found.report.head == 'new' and found.network.num_classes == 3


def test_an_adapter_comes_from_the_hub(adapter, tmp_path, monkeypatch):
    asked = []

    def snapshot(address, patterns):
        asked.append(address)
        there = tmp_path / 'cache' / str(len(asked))
        for file in adapter.iterdir():
            if file.is_file() and any(file.match(pattern) for pattern in patterns):
                there.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, there)
        return there, 'c' * 40

    monkeypatch.setattr(hub, '_snapshot', snapshot)
    changed(adapter, base_model_name_or_path=str(adapter / 'base'))
    found, here = load_pretrained('hf://me/adapter'), load_pretrained(str(adapter))
    assert asked == ['hf://me/adapter'] * 2
    same(found.variables, here.variables)


def test_a_neumann_series_nears_cayleys_rotation():
    skew = np.random.default_rng(0).normal(0, 0.05, (2, 4, 4)).astype(np.float32)
    skew, identity = skew - skew.swapaxes(1, 2), np.eye(4)
    exact = (identity + skew) @ np.linalg.inv(identity - skew)
    errors = [np.abs(neumann(skew, terms) - exact).max() for terms in (1, 2, 3, 5, 12)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-6


PEFT = {
    'LoraConfig all': {
        'r': 2,
        'target_modules': 'all-linear',
        'rank_pattern': {'query': 3},
        'alpha_pattern': {'layer.1.attention.self.query': 5},
        'init_lora_weights': False,
    },
    'LoraConfig embeddings': {
        'r': 2,
        'target_modules': ['word_embeddings', 'value'],
        'use_rslora': True,
        'init_lora_weights': False,
    },
    'LoraConfig biases': {
        'r': 2,
        'target_modules': ['query'],
        'bias': 'lora_only',
        'use_dora': True,
        'init_lora_weights': False,
    },
    'LoraConfig all biases': {
        'r': 2,
        'target_modules': ['query', 'word_embeddings'],
        'bias': 'all',
        'init_lora_weights': False,
    },
    'LoraConfig embeddings of DoRA': {
        'r': 2,
        'target_modules': ['word_embeddings'],
        'use_dora': True,
        'init_lora_weights': False,
    },
    'IA3Config': {
        'target_modules': ['key', 'intermediate.dense'],
        'feedforward_modules': ['intermediate.dense'],
        'init_ia3_weights': False,
    },
    'OFTConfig': {
        'oft_block_size': 4,
        'r': 0,
        'target_modules': ['query', 'value'],
        'init_weights': False,
    },
    'OFTConfig shared': {
        'oft_block_size': 4,
        'r': 0,
        'target_modules': ['query'],
        'block_share': True,
        'use_cayley_neumann': False,
        'init_weights': False,
    },
}


@pytest.mark.torch
@pytest.mark.parametrize('case', PEFT)
@pytest.mark.parametrize('task', [None, 'SEQ_CLS'])
def test_what_peft_wrote_gives_pefts_logits(case, task, tmp_path):
    torch = pytest.importorskip('torch')
    transformers = pytest.importorskip('transformers')
    peft = pytest.importorskip('peft')
    torch.manual_seed(0)
    made = transformers.BertForSequenceClassification.from_pretrained(
        GOLDENS / 'bert' / 'model', num_labels=3, ignore_mismatched_sizes=True
    )
    config = getattr(peft, case.split()[0])(
        modules_to_save=['classifier'], task_type=task, **PEFT[case]
    )
    model = peft.get_peft_model(made, config).eval()
    model.save_pretrained(str(tmp_path))
    changed(tmp_path, base_model_name_or_path=str(GOLDENS / 'bert' / 'model'))
    inputs = inputs_of('bert')
    with torch.no_grad():
        given = {name: torch.from_numpy(np.array(x)).long() for name, x in inputs.items()}
        theirs = model(**given).logits.numpy()
    found = load_pretrained(str(tmp_path))
    ours = np.asarray(found.network.apply(found.variables, inputs))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    plain = load_pretrained(str(GOLDENS / 'bert' / 'model'), num_classes=3, head='new')
    head = {**plain.variables['params'], 'head': found.variables['params']['head']}
    before = plain.network.apply({**plain.variables, 'params': head}, inputs)
    assert np.abs(np.asarray(before) - theirs).max() > 1e-3, 'the adapters change nothing'


@pytest.mark.torch
def test_a_head_of_two_layers_keeps_its_classes(tmp_path):
    torch = pytest.importorskip('torch')
    transformers = pytest.importorskip('transformers')
    peft = pytest.importorskip('peft')
    torch.manual_seed(0)
    base = GOLDENS / 'distilbert' / 'model'
    made = transformers.DistilBertForSequenceClassification.from_pretrained(
        base, num_labels=3, ignore_mismatched_sizes=True
    )
    config = peft.LoraConfig(
        r=2, target_modules=['q_lin'], task_type='SEQ_CLS', init_lora_weights=False
    )
    model = peft.get_peft_model(made, config).eval()
    model.save_pretrained(str(tmp_path))
    changed(tmp_path, base_model_name_or_path=str(base))
    found, inputs = load_pretrained(str(tmp_path)), inputs_of('distilbert')
    assert (found.network.num_classes, found.report.head) == (3, 'kept')
    with torch.no_grad():
        given = {
            name: torch.from_numpy(np.array(inputs[name])).long()
            for name in ('input_ids', 'attention_mask')
        }
        theirs = model(**given).logits.numpy()
    ours = found.network.apply(found.variables, inputs)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
