"""The masked-token objective in the training loop, and the encoder that was made by it."""

import dataclasses
import math

import numpy as np
import pytest

from ftjax.config import read_config
from ftjax.data import Dataset, Splits, eval_batches
from ftjax.data.synthetic.docstrings import labelled_sentences
from ftjax.errors import UserError
from ftjax.evaluation.predict import predict
from ftjax.pretrained.open import load_pretrained
from ftjax.runs.evaluate import split_metrics
from ftjax.runs.prepare import prepare
from ftjax.runs.run import train
from ftjax.runs.run_spec import run_spec
from ftjax.tasks import task_of
from ftjax.training.cost.cost import plan_cost

TOPICS = (('read', 'file', 'line'), ('mail', 'host', 'port'), ('sum', 'digit', 'mean'))
TINY = {'vocab_size': 128, 'width': 16, 'depth': 1, 'heads': 2, 'mlp_dim': 16, 'max_positions': 16}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv('FTJAX_CACHE', str(tmp_path_factory.mktemp('cache')))


@pytest.fixture(scope='module')
def corpus():
    """Sentences of eight words of one topic: the others tell which three a token may be."""
    rng = np.random.default_rng(0)
    texts = [' '.join(rng.choice(TOPICS[i % 3], 8)) for i in range(400)]
    parts = (texts[:280], texts[280:340], texts[340:])
    sets = [
        Dataset(name='corpus', kind='text', inputs=t, labels=np.zeros(len(t)), task='masked_tokens')
        for t in parts
    ]
    return Splits(train=sets[0], val=sets[1], test=sets[2])


def config(**changes):
    return read_config(
        {
            'init': '',
            'model': {'name': 'bert', 'head': 'lm', 'pool': 'mean', 'dropout': 0.0, **TINY},
            'data': {
                'source': 'docstrings:unlabelled',
                'task': 'masked_tokens',
                'tokenizer': 'wordpiece:128',
                'max_length': 16,
                'batch_size': 20,
                'eval_batch_size': 20,
            },
            'optimizer': {'learning_rate': 1e-2},
            'train': {'steps': 140, 'eval_every': 5.0, 'steps_per_call': 10},
            **changes,
        }
    )


@pytest.mark.slow
def test_a_few_steps_lower_the_loss_below_what_frequencies_give(corpus, tmp_path):
    prepared = prepare(config(), corpus)
    fitted, result = train(prepared, tmp_path / 'run', progress=False)
    before = split_metrics(prepared, prepared.variables)
    metrics = result['metrics']
    assert abs(before['loss'] - math.log(128)) < 0.5  # nothing is known yet
    # One of nine words by frequencies, one of three by the sentence: ln 9 and ln 3.
    assert metrics['n'] >= 60 and metrics['unigram_entropy'] > 1.9
    assert metrics['loss'] < 1.5
    assert fitted.verification.frozen_unchanged and not fitted.verification.still_trainable
    opened = load_pretrained(str(tmp_path / 'run'), num_classes=2)
    assert opened.report.head == 'new' and opened.preprocessing == prepared.preprocessing


@pytest.mark.slow
def test_the_price_of_a_step_is_known(corpus):
    prepared = prepare(config(), corpus)
    assert plan_cost(run_spec(prepared)).flops > 0


def test_features_are_not_stored_and_heads_of_classes_are_refused(corpus):
    frozen = config(freeze='last:1', train={'steps': 2, 'cache': 'on'})
    with pytest.raises(UserError, match='hidden at every step'):
        train(prepare(frozen, corpus), progress=False)
    model = {'name': 'bert', 'pool': 'mean', **TINY}
    with pytest.raises(UserError, match="head to 'lm'"):
        prepare(config(model=model), corpus)


@pytest.fixture(scope='module')
def encoder():
    return load_pretrained('docstrings')


def test_the_shipped_encoder_knows_sentences_it_was_not_trained_on(encoder):
    """None of these is in its training text; frequencies alone would give their entropy."""
    texts = [sentence.text for sentence, _ in labelled_sentences()][::12]
    held_out = Dataset(
        name='held out',
        kind='text',
        inputs=texts,
        labels=np.zeros(len(texts)),
        max_length=32,
        task='masked_tokens',
    )
    # One length, so that one program is compiled.
    prep = dataclasses.replace(encoder.preprocessing, max_length=32, buckets=(32,))
    batches = eval_batches(held_out, 64, None, prep)
    found = task_of('masked_tokens').measure(
        predict(encoder.network, encoder.variables, batches, prep)
    )
    assert found['n'] > 500
    assert found['loss_interval'][1] < found['unigram_entropy'] - 1
    assert found['accuracy'] > 0.25


def test_one_run_of_the_embedded_task(tmp_path):
    """Whether words are in order, from frozen features; chance, and a bag of words, give .5."""
    settings = {
        'init': 'docstrings',
        'data': {
            'source': 'docstrings:order',
            'examples_per_class': 300,
            'val_per_class': 20,
            'test_fraction': 0.2,
            'max_length': 16,
            'batch_size': 20,
            'eval_batch_size': 32,
        },
        'freeze': 'head',
        'optimizer': {'learning_rate': 3e-2},
        'train': {'steps': 300, 'eval_every': 5.0, 'steps_per_call': 50, 'report': False},
    }
    prepared = prepare(read_config(settings))
    fitted, result = train(prepared, tmp_path, progress=False)
    assert result['frozen_unchanged'] and fitted.history[-1]['train_loss'] < 0.69
    assert result['metrics']['accuracy_interval'][0] > 0.5
    again = load_pretrained(str(tmp_path))
    assert again.class_names == prepared.data.class_names and again.report.head == 'kept'
