"""Token classification through a run: plan, cache, report, answers, resume, export."""

import json

import numpy as np
import pytest

from ftjax.config import read_config
from ftjax.errors import UserError
from ftjax.pretrained.open import load_pretrained
from ftjax.runs.prediction.answering import answers_to
from ftjax.runs.prediction.trained import open_trained
from ftjax.runs.prepare import prepare
from ftjax.runs.run import train

NAMES, PLACES = ('Ada', 'Alan', 'Grace'), ('Paris', 'Rome', 'Berlin')
OTHERS = ('the', 'a', 'saw', 'went', 'to', 'in', 'and', 'with')
TINY = {'vocab_size': 128, 'width': 16, 'depth': 2, 'heads': 2, 'mlp_dim': 16, 'max_positions': 16}


def sentence(rng):
    """Words and tags: people have two words, places one."""
    words, tags = [], []
    for _ in range(rng.integers(2, 6)):
        draw = rng.random()
        if draw < 0.3:
            words += [str(rng.choice(NAMES)), 'Smith']
            tags += ['B-PER', 'I-PER']
        elif draw < 0.5:
            words.append(str(rng.choice(PLACES)))
            tags.append('B-LOC')
        else:
            words.append(str(rng.choice(OTHERS)))
            tags.append('O')
    return words, tags


@pytest.fixture(scope='module')
def file(tmp_path_factory):
    """120 sentences, one of them several windows long."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp('tags') / 'all.jsonl'
    rows = [sentence(rng) for _ in range(120)]
    rows[3] = [part * 12 for part in rows[3]]
    path.write_text('\n'.join(json.dumps({'words': w, 'tags': t}) for w, t in rows))
    return path


def config(file, **changes):
    data = {
        'source': f'jsonl:{file}',
        'task': 'token_classification',
        'tokenizer': 'wordpiece:128',
        'max_length': 16,
        'batch_size': 8,
        'eval_batch_size': 32,
    }
    return read_config(
        {
            'init': '',
            'model': {'name': 'bert', 'dropout': 0.0, 'head_dropout': 0.0, **TINY},
            'data': {**data, **changes.pop('data', {})},
            'freeze': 'last:1',
            'optimizer': {'learning_rate': 1e-2},
            'train': {'steps': 20, 'eval_every': 2.0, 'steps_per_call': 2, 'report': False},
            **changes,
        }
    )


@pytest.mark.slow
def test_one_run_and_its_answers(file, tmp_path):
    prepared = prepare(config(file, train={'steps': 130, 'eval_every': 5.0, 'steps_per_call': 5}))
    assert prepared.network.pool == 'none' and prepared.preprocessing.form == 'words'
    assert 'cut: gradients stop between block_00 and block_01' in prepared.table()
    _, result = train(prepared, tmp_path / 'run', progress=False)
    metrics = result['metrics']
    assert result['frozen_unchanged'] and metrics['span_f1'] > 0.5
    assert metrics['n'] == 24 and metrics['span_f1_interval'][1] > metrics['span_f1']
    assert {row['name'] for row in metrics['per_class']} == {'LOC', 'PER'}
    report = (tmp_path / 'run' / 'report.html').read_text()
    assert 'span F1' in report and '](PER)' in report
    opened = open_trained(str(tmp_path / 'run'))
    assert opened.preprocessing.form == 'words' and opened.class_names == prepared.data.class_names
    long = ['Ada', 'Smith', 'saw'] * 9  # windows: each word has one answer
    given = answers_to(opened, ['the Ada Smith went', long], {})
    tags = [row['predicted'].split() for row in given.rows]
    assert [len(each) for each in tags] == [4, 27]
    for row in given.rows:
        found = len([tag for tag in row['predicted'].split() if tag.startswith('B-')])
        assert len([span for span in row['spans'].split('|') if span]) == found
    # The answers are those of the evaluation: the same network on the same words.
    test = prepared.data.test
    again = answers_to(opened, list(test.inputs), {})
    right = total = 0
    for row, label in zip(again.rows, test.labels, strict=True):
        want = [test.class_names[tag] for tag in label if tag >= 0]
        right += sum(a == b for a, b in zip(row['predicted'].split(), want, strict=True))
        total += len(want)
    assert right / total == pytest.approx(metrics['word_accuracy'])


def test_features_of_windows_are_refused_and_augmentations_of_words(file):
    frozen = config(file, freeze='head', train={'steps': 2, 'cache': 'on'})
    with pytest.raises(UserError, match='several lengths flow into'):
        train(prepare(frozen), progress=False)
    with pytest.raises(UserError, match=r'word_swap.*has a label for each'):
        train(prepare(config(file, data={'augment': 'word_swap:0.1'})), progress=False)


def test_a_head_of_another_kind_is_refused(file):
    model = {'name': 'bert', **TINY, 'pool': 'mean'}
    with pytest.raises(UserError, match=r"answers for every token, .*pool to 'none'"):
        prepare(config(file, model=model))
    data = {'source': 'docstrings', 'task': 'classification', 'tokenizer': 'wordpiece:128'}
    with pytest.raises(UserError, match='takes outputs of a whole example'):
        prepare(config(file, data=data, model={**model, 'pool': 'none'}))


@pytest.mark.slow
@pytest.mark.parametrize('freeze', ['full', 'bitfit', 'lora:2'])
def test_accumulation_and_remat_change_nothing(file, freeze):
    def loss(**changes):
        optimizer = {'learning_rate': 1e-2, 'name': 'sgd', **changes.pop('optimizer', {})}
        run = config(file, freeze=freeze, optimizer=optimizer, **changes)
        fitted, _ = train(prepare(run), progress=False)
        return [row['train_loss'] for row in fitted.history]

    steps = {'steps': 8, 'eval_every': 0.5, 'steps_per_call': 2, 'report': False}
    plain = loss(train=steps)
    for parts in (2, 4):  # parts have different numbers of words: the sum is over all of them
        assert loss(optimizer={'accumulate': parts}, train=steps) == pytest.approx(plain, rel=1e-5)
    assert loss(train={**steps, 'remat': True}) == pytest.approx(plain, rel=1e-5)


@pytest.mark.slow
def test_features_of_texts_of_one_length_are_stored(file, tmp_path, monkeypatch):
    monkeypatch.setenv('FTJAX_CACHE', str(tmp_path / 'cache'))
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    short = tmp_path / 'short.jsonl'
    short.write_text('\n'.join(json.dumps(row) for row in rows if len(row['words']) < 12))
    runs = [
        train(
            prepare(
                config(
                    short,
                    freeze='head',
                    data={'tokenizer': 'wordpiece:128'},
                    model={
                        'name': 'bert',
                        'dropout': 0.0,
                        'head_dropout': 0.0,
                        **TINY,
                        'vocab_size': 128,
                    },
                    train={'steps': 16, 'eval_every': 1.0, 'cache': cache, 'report': False},
                )
            ),
            progress=False,
        )
        for cache in ('off', 'on')
    ]
    losses = [[row['train_loss'] for row in fitted.history] for fitted, _ in runs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize(
    ('name', 'cls'),
    [
        ('bert', 'BertForTokenClassification'),
        ('roberta', 'RobertaForTokenClassification'),
        ('electra', 'ElectraForTokenClassification'),
        ('distilbert', 'DistilBertForTokenClassification'),
        ('modernbert', 'ModernBertForTokenClassification'),
    ],
)
def test_logits_and_loss_are_those_of_transformers(name, cls, tmp_path):
    import torch
    import transformers

    from ftjax.export.huggingface import save_huggingface
    from ftjax.models.registry import build
    from ftjax.pretrained.initialise import random_variables
    from ftjax.tasks import task_of

    options = {**TINY, 'num_classes': 5, 'pool': 'none'}
    if name == 'roberta':
        options['max_positions'] = 18
    network = build(name, options)
    variables = random_variables(network, 0)
    save_huggingface(tmp_path, network, variables, None, [f'T{i}' for i in range(5)])
    theirs = getattr(transformers, cls).from_pretrained(tmp_path).eval()
    rng = np.random.default_rng(0)
    ids = rng.integers(5, 60, (2, 8)).astype(np.int32)
    mask = np.ones((2, 8), np.int32)
    mask[1, 5:] = 0
    ids[1, 5:] = 1
    labels = rng.integers(0, 5, (2, 8)).astype(np.int32)
    labels[:, ::3] = -1
    labels[1, 5:] = -1
    inputs = {'input_ids': ids, 'attention_mask': mask}
    with torch.enable_grad():
        answer = theirs(
            **{k: torch.tensor(v).long() for k, v in inputs.items()},
            labels=torch.tensor(np.where(labels < 0, -100, labels)).long(),
        )
        answer.loss.backward()
    ours = network.apply(variables, inputs)
    real = mask > 0
    np.testing.assert_allclose(ours[real], answer.logits.detach().numpy()[real], atol=1e-5)
    batch = {'labels': labels, 'mask': (labels >= 0).astype(np.float32)}
    total, weight = task_of('token_classification').loss(ours, batch)
    assert float(total / weight) == pytest.approx(answer.loss.item(), abs=1e-5)
    import jax

    def loss_of(params):
        outputs = network.apply({**variables, 'params': params}, inputs)
        total, weight = task_of('token_classification').loss(outputs, batch)
        return total / weight

    grads = jax.grad(loss_of)(variables['params'])['head']['dense']['kernel']
    want = dict(theirs.named_parameters())['classifier.weight'].grad.numpy().T
    np.testing.assert_allclose(grads, want, atol=1e-5)
    opened = load_pretrained(str(tmp_path))  # and back
    assert opened.report.head == 'kept' and opened.network.head_kind == 'tags'
    np.testing.assert_allclose(opened.network.apply(opened.variables, inputs), ours, atol=1e-6)
