"""The memory of a run, told before it: against the programs that the run itself compiles."""

import hashlib
import types

import jax
import numpy as np
import pytest

from ftjax.config import read_config
from ftjax.data import Dataset, Splits
from ftjax.errors import UserError
from ftjax.freezing.plan.plan import FreezeSettings, make_plan
from ftjax.freezing.run_length import RunLength
from ftjax.freezing.strategies.adapters import with_adapters
from ftjax.io.process import provenance
from ftjax.io.process.host_memory import host_free, host_limit, shown_size
from ftjax.models.registry import build
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pretrained.initialise import random_variables
from ftjax.pretrained.open import load_pretrained
from ftjax.runs.before_training.memory_advice import advice, changes, suggestions
from ftjax.runs.before_training.memory_plan import refuse_what_cannot_fit, run_memory
from ftjax.runs.prepare import Prepared
from ftjax.runs.run import train
from ftjax.runs.run_spec import run_spec
from ftjax.training.cost import memory
from ftjax.training.cost.memory_limit import device_limit, read_size
from ftjax.training.loop import step_runner

FAMILIES = {
    'vit': {'image_size': 16, 'patch_size': 4, 'width': 24, 'depth': 3, 'heads': 3},
    'bert': {'vocab_size': 12, 'width': 24, 'depth': 3, 'heads': 3, 'max_positions': 16},
    'resnet_gn_cifar': {'depth': 8, 'width': 8, 'image_size': 16},
}
WORDS = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'a', 'film', 'not', 'good', 'bad', 'at')
SHARE = 0.15


def images(name, count):
    draw = np.random.default_rng(count)
    return Dataset(
        name=name,
        kind='image',
        inputs=draw.integers(0, 255, (count, 16, 16, 3), np.uint8),
        labels=np.arange(count) % 3,
        class_names=('a', 'b', 'c'),
    )


def texts(name, count):
    draw = np.random.default_rng(count)
    lines = [' '.join(draw.choice(WORDS[5:], 3 + i % 4)) for i in range(count)]
    labels = np.arange(count) % 3
    return Dataset(name=name, kind='text', inputs=lines, labels=labels, class_names='abc')


def splits(make):
    return Splits(train=make('train', 48), val=make('val', 9), test=make('test', 6))


IMAGES, TEXTS = splits(images), splits(texts)


def prepared(family='vit', freeze='head', batch=8, preprocessing=None, train=None, **sections):
    """A run, its weights drawn without a program."""
    values = {
        'init': '',
        'freeze': freeze,
        'data': {'batch_size': batch, 'eval_batch_size': 9},
        'train': {'steps': 2, 'cache': 'off', 'steps_per_call': 1, **(train or {})},
    }
    config = read_config({**values, **sections})
    net = build(family, {**FAMILIES[family], 'num_classes': 3})
    draw = np.random.default_rng(0)
    shapes = jax.eval_shape(net.init, jax.random.key(0), net.example_input())
    variables = jax.tree.map(lambda x: draw.normal(0, 0.3, x.shape).astype(x.dtype), shapes)
    net, variables = with_adapters(config.freeze, net, variables)
    data = TEXTS if family == 'bert' else IMAGES
    plan = make_plan(config.freeze, net, variables)
    if family != 'bert':
        half = (0.5,) * 3
        preprocessing = Preprocessing(image_size=(16, 16), mean=half, std=half, channels=3)
    return Prepared(config, data, net, variables, preprocessing, {}, plan, RunLength(2, 6))


@pytest.fixture(scope='module')
def words(tmp_path_factory):
    """TextPreprocessing over the words."""
    from tokenizers.implementations import BertWordPieceTokenizer

    folder = tmp_path_factory.mktemp('words')
    (folder / 'vocab.txt').write_text('\n'.join(WORDS) + '\n')
    file = folder / 'tokenizer.json'
    BertWordPieceTokenizer(str(folder / 'vocab.txt')).save(str(file))
    return TextPreprocessing(
        tokenizer=str(file),
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        vocab_size=12,
        max_length=16,
        buckets=(8, 16),
    )


class Compiled(Exception):
    """The run has compiled the program of its first step."""


def used(run, monkeypatch):
    """Bytes of the program that a run makes its first step with, as the compiler reports them."""
    program = step_runner.program

    def watched(*arguments, **options):
        raise Compiled(program(*arguments, **options).call.memory_analysis())

    monkeypatch.setattr(step_runner, 'program', watched)
    with pytest.raises(Compiled) as caught:
        train(run, progress=False)
    report = caught.value.args[0]
    inside = report.temp_size_in_bytes + report.output_size_in_bytes - report.alias_size_in_bytes
    return report.argument_size_in_bytes + inside


def told_of(run):
    """What is told of that program."""
    return memory.step_memory(run_spec(run), run.plan.at(0), calls(run))


def calls(run):
    """Steps of a call."""
    spec = run_spec(run)
    return min(spec.steps_per_call(), spec.steps)


def test_arguments_are_counted_from_shapes():
    run = prepared(freeze='head', optimizer={'ema': 0.9})
    held, arguments = memory.step_arguments(run_spec(run), run.plan.at(0), calls(run))
    head = 4 * (24 * 3 + 3)
    assert held['trainable parameters'] == held['averages'] == head
    assert 2 * head <= held['optimizer state'] <= 2 * head + 64
    assert held['batch'] == 8 * 16 * 16 * 3 + 8 * 4 + 8 * 4
    everything = sum(x.nbytes for x in jax.tree.leaves(run.variables))
    assert held['frozen parameters'] == everything - head
    wanted = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(arguments))
    # Beside what is named there are a step, a seed, the rates and what may be skipped.
    assert 0 < wanted - sum(held.values()) < 64
    rounded = prepared(freeze={'strategy': 'head', 'frozen_dtype': 'bfloat16'})
    found, _ = memory.step_arguments(run_spec(rounded), rounded.plan.at(0), calls(run))
    assert found['frozen parameters'] == held['frozen parameters'] / 2


def test_what_cannot_fit_is_refused_before_anything_runs():
    run = prepared(freeze='full')
    least = memory.least_memory(run_spec(run), run.plan.at(0), calls(run))
    sizes = sum(x.nbytes for x in jax.tree.leaves(run.variables))
    assert least > 4 * sizes  # weights, two moments, gradients
    refuse_what_cannot_fit(run, least)
    refuse_what_cannot_fit(run, None)
    with pytest.raises(UserError, match=r'cannot fit: .* of .* on the device; scripts/plan\.py'):
        refuse_what_cannot_fit(run, least - 1)


@pytest.mark.parametrize('init', ['random:glyphs', ''])
def test_random_weights_that_do_not_fit_are_refused_before_they_are_made(init):
    told = r'weights of this ViT take \d{3,}\.\d\d GiB, and [\d.]+ .iB of memory are free'
    with pytest.raises(UserError, match=told):
        if init:
            load_pretrained(init, options={'width': 2**16})
        else:
            random_variables(build('vit', {'width': 2**16, 'heads': 2, 'image_size': 16}))


def test_what_is_free_is_at_most_what_there_is():
    assert 2**26 < host_free() <= host_limit()


def test_sizes_and_limits(monkeypatch):
    for text, size in (('8GiB', 2**33), ('500 mb', 5e8), ('1.5K', 1500), ('77', 77)):
        assert read_size(text) == size
    for text in ('', '8 gigs', '-1GB', '0', 'GiB'):
        with pytest.raises(UserError, match=r"--memory_limit is .*expected a size such as '8GiB'"):
            read_size(text)
    assert shown_size(2.5 * 2**20) == '2.50 MiB'
    assert device_limit() == host_limit() > 2**28

    class Chip:
        def __init__(self, limit):
            self.limit = limit

        def memory_stats(self):
            return {'bytes_limit': self.limit, 'peak_bytes_in_use': self.limit - 1}

    assert provenance.device_peak() == {}
    monkeypatch.setattr(jax, 'local_devices', lambda: [Chip(10), Chip(7)])
    assert device_limit() == 7 and provenance.device_peak() == {'device_peak_bytes': 9}


@pytest.mark.slow
@pytest.mark.parametrize('batch', [4, 16])
@pytest.mark.parametrize('freeze', ['full', 'last:2', 'bitfit', 'lora:4', 'head'])
@pytest.mark.parametrize('family', FAMILIES)
def test_the_run_takes_what_was_told(family, freeze, batch, words, monkeypatch):
    if family.startswith('resnet') and freeze.startswith('lora'):
        pytest.skip('it has no dense layers below its head')
    run = prepared(family, freeze, batch, words)
    assert told_of(run).total == pytest.approx(used(run, monkeypatch), rel=SHARE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('freeze', 'train', 'optimizer'),
    [
        ('last:1', {'steps_per_call': 2}, {'ema': 0.9, 'accumulate': 2}),
        ('full', {'remat': True}, {'name': 'sgd'}),
        ('last:2+l2_sp', {}, {}),
        ({'strategy': 'last:1', 'frozen_dtype': 'bfloat16'}, {}, {}),
    ],
)
def test_what_else_takes_memory_is_in_it(freeze, train, optimizer, monkeypatch):
    run = prepared(freeze=freeze, train=train, optimizer=optimizer)
    told = told_of(run)
    assert told.total == pytest.approx(used(run, monkeypatch), rel=SHARE)
    assert sum(told.rows.values()) == told.total


def test_other_strategies_are_tried_in_place_of_rules_with_multipliers():
    rules = {'rules': [('head/.*', 'top'), ('.*', 'rest')], 'multipliers': {'rest': 0.1}}
    run = prepared(freeze=rules)
    size = types.SimpleNamespace(temporary=2, gradients=1, total=4)
    told = types.SimpleNamespace(largest=size, steps=1, phases=[(run.plan.at(0),)])
    tried = dict(changes(run.config, told, 3))
    assert tried['freeze=head'].freeze == FreezeSettings(strategy='head')
    assert tried['train.remat=True'].freeze == run.config.freeze


@pytest.mark.slow
def test_suggestions_come_true_and_the_best_comes_first():
    run = prepared(freeze='full', batch=48, data={'batch_size': 48, 'eval_batch_size': 4})
    memory_now = run_memory(run)
    limit = memory_now.peak // 2
    told = suggestions(run, memory_now, limit)
    peaks = [one.peak for one in told]
    assert peaks == sorted(peaks) and peaks[0] < limit and max(peaks) < memory_now.peak
    words = ' '.join(one.change for one in told)
    assert 'optimizer.accumulate=' in words and 'train.remat=True' in words
    assert 'freeze=head' in words and 'freeze=last:1' in words
    assert advice(told, limit).count('fits') == sum(peak <= limit for peak in peaks)
    one = next(one for one in told if one.change == 'freeze=head')
    head = prepared(freeze='head', data={'batch_size': 48, 'eval_batch_size': 4})
    assert run_memory(head).peak == one.peak
    assert 'smaller network' in advice([], limit)
