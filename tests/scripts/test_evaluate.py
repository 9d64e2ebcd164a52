"""Evaluations of runs and checkpoints on their own data, on other data, and what they leave."""

import csv
import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import sklearn.metrics
from PIL import Image

from ftjax.config import read_config
from ftjax.data.dataset import Dataset
from ftjax.errors import UserError
from ftjax.pretrained.locate.locate import data_folder
from ftjax.runs.assessment.evaluation_report import EvaluationRequest, evaluate_all
from ftjax.runs.assessment.examination import Examined
from ftjax.runs.assessment.forgetting import general_data
from ftjax.runs.assessment.other_data import other_data, with_classes_of
from ftjax.runs.prediction.answer_options import answer_options
from ftjax.runs.prediction.trained import open_trained
from ftjax.runs.prepare import prepare
from ftjax.runs.run import train


def finished(folder, init, data, **changes):
    values = {'init': init, 'data': data, 'train': {'steps': 2}, 'freeze': 'head', **changes}
    train(prepare(read_config(values)), folder, progress=False)
    return folder


@pytest.fixture(scope='module')
def digits(tmp_path_factory):
    data = {'source': 'digits', 'examples_per_class': 3, 'eval_batch_size': 128}
    return finished(tmp_path_factory.mktemp('runs') / 'digits', 'glyphs', data)


def asked(folder, **request):
    """Metrics, and the lines that are said."""
    said = []
    told = evaluate_all(EvaluationRequest(init=str(folder), **request), said.append)
    return told, '\n'.join(said)


def rows_of(path):
    return list(csv.DictReader(path.open(newline='')))


def test_a_run_on_its_own_test_split_with_a_row_for_every_example(digits, tmp_path):
    output = tmp_path / 'rows.csv'
    told, said = asked(digits, output=str(output))
    result = json.loads((digits / 'result.json').read_text())
    assert told['test']['accuracy'] == result['metrics']['accuracy']
    assert 'true \\ predicted' in said and (digits / 'confusion_test.png').exists()
    kept = json.loads((digits / 'evaluation_test.json').read_text())
    assert kept == result['metrics']
    rows = rows_of(output)
    assert len(rows) == result['metrics']['n'] == len({row['id'] for row in rows})
    right = np.mean([row['label'] == row['predicted'] for row in rows])
    assert right == pytest.approx(result['metrics']['accuracy'])
    losses = [float(row['loss']) for row in rows]
    assert np.mean(losses) == pytest.approx(result['metrics']['log_loss'], rel=1e-5)
    logits = np.array([[float(row[f'output:{c}']) for c in range(10)] for row in rows])
    labels = [int(row['label']) for row in rows]
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    assert sklearn.metrics.log_loss(labels, chances) == pytest.approx(np.mean(losses), rel=1e-5)
    _, said = asked(digits, metrics=['accuracy', 'loss'])
    assert said.startswith(f'test split: {len(rows)} examples\n')
    assert said.count('\n') == 2 and 'accuracy 0.' in said and 'loss' in said
    with pytest.raises(UserError, match="did you mean 'accuracy'"):
        asked(digits, metrics=['acuracy'])


@pytest.mark.slow
def test_shifted_data_and_several_sources(digits, tmp_path):
    draw = np.random.default_rng(0)
    for name in ('7', '3'):  # fewer classes, and no order of the run's
        folder = tmp_path / 'new' / name
        folder.mkdir(parents=True)
        for index in range(4):
            image = draw.integers(0, 255, (9, 9)).astype(np.uint8)
            Image.fromarray(image).save(folder / f'{index}.png')
    sources = [f'folder:{tmp_path / "new"}', 'digits']
    told, said = asked(digits, data={'source': sources}, output=str(tmp_path / 'rows.jsonl'))
    other, own = told.values()
    result = json.loads((digits / 'result.json').read_text())
    assert other['n'] == 8 and own['accuracy'] == result['metrics']['accuracy']
    assert all(source in said for source in sources)
    rows = [json.loads(line) for line in (tmp_path / 'rows.jsonl').read_text().splitlines()]
    mine = [row for row in rows if row['data'] != 'digits']
    assert {row['label'] for row in mine} == {'3', '7'}
    assert other['accuracy'] == np.mean([row['label'] == row['predicted'] for row in mine])
    shifted, _ = asked(digits, data={'corruption': ['gaussian_noise:0.5']})
    (found,) = shifted.values()
    assert found['n'] == own['n'] and found['log_loss'] != own['log_loss']
    assert (digits / 'evaluation_digits_gaussian_noise_0.5.json').exists()
    with pytest.raises(UserError, match='may have been trained on'):
        asked(digits, data={'test_fraction': [0.5]})
    # What is forgotten is measured in the order of the head's classes too.
    values = {'init': str(digits), 'train': {'steps': 2, 'forgetting': sources[0]}}
    general = general_data(prepare(read_config({**values, 'data': {'source': 'digits'}})))
    assert {general.class_names[label] for label in general.labels} == {'3', '7'}
    assert len(general.class_names) == 10
    (tmp_path / 'new' / '3').rename(tmp_path / 'new' / 'three')
    with pytest.raises(UserError, match=r"class 'three'.*none of that name"):
        asked(digits, data={'source': sources[:1]})


def test_a_finished_run_that_is_evaluated_again_keeps_its_latency(digits, tmp_path):
    folder = shutil.copytree(digits, tmp_path / 'again')
    result = json.loads((folder / 'result.json').read_text())
    (folder / 'result.json').write_text(json.dumps({**result, 'latency': {'n': 1}}))
    config = read_config(json.loads((folder / 'config.json').read_text()))
    train(prepare(config), folder, progress=False)
    again = json.loads((folder / 'result.json').read_text())
    assert again['latency'] == {'n': 1} and again['metrics'] == result['metrics']


def test_on_the_examples_that_were_fitted_on_nothing_is_told_of_the_fit(digits, tmp_path):
    folder = shutil.copytree(digits, tmp_path / 'run')
    told, said = asked(folder, split='val', calibrate=True)
    assert set(told['val']['reliability']) == {'plain', 'selective'}
    assert 'after temperature scaling' not in said and 'sets made to hold' not in said
    told, said = asked(folder, split='test')
    assert {'plain', 'calibrated', 'sets'} <= set(told['test']['reliability'])
    assert 'after temperature scaling' in said


def test_own_data_are_known_however_written_and_others_lose_what_speaks_of_examples(tmp_path):
    draw = np.random.default_rng(0)
    for name in ('a', 'b'):
        labels = np.arange(60) % 2
        np.savez(tmp_path / f'{name}.npz', x=draw.random((60, 4, 4, 1)), y=labels)
    clean = tmp_path / 'clean.csv'
    clean.write_text('split,id,action,label\ntrain,000000,drop,\n')
    read = {'source': f'npz:{tmp_path}/a.npz', 'exclude': str(clean)}
    base = read_config({'data': read}).data
    ((_, own),) = other_data(base, {}, 'test')
    ((_, again),) = other_data(base, {'source': [f'npz:{tmp_path}/./a.npz']}, 'test')
    assert again.fingerprint == own.fingerprint and len(own) == 12
    ((_, other),) = other_data(base, {'source': [f'npz:{tmp_path}/b.npz']}, 'test')
    assert len(other) == 60
    given = {'source': [f'npz:{tmp_path}/b.npz'], 'exclude': [str(clean)]}
    assert len(other_data(base, given, 'test')[0][1]) == 59


def test_rows_of_a_run_with_a_threshold_are_answered_at_it():
    data = Dataset(name='d', kind='text', inputs=['x'] * 2, labels=[0, 1], class_names=('a', 'b'))
    outputs = np.log(np.array([[0.6, 0.4], [0.8, 0.2]], np.float32))
    half = Examined({}, data, outputs, data.labels, np.zeros(2))
    assert [row['predicted'] for row in half.rows()] == ['a', 'a']
    third = [*dataclasses.replace(half, threshold=1 / 3).rows()]
    assert [row['predicted'] for row in third] == ['b', 'a']
    assert [row['confidence'] for row in third] == pytest.approx([0.4, 0.8])
    several = Dataset(
        name='d',
        kind='text',
        inputs=['x'],
        labels=[[1, 0]],
        class_names=('a', 'b'),
        task='multilabel',
    )
    logits = np.array([[-0.5, 0.5]], np.float32)  # probabilities .38 and .62
    done = Examined({}, several, logits, several.labels, np.zeros(1), threshold=(0.3, 0.7))
    (row,) = done.rows()
    assert (row['predicted'], row['missed'], row['wrong']) == ('a', '', '')


@pytest.mark.slow
def test_a_checkpoint_without_a_run_has_its_known_accuracy():
    folder = data_folder()
    if not (folder / 'resnet20_cifar10').is_dir():
        pytest.skip('needs the optional data folder')
    source = f'npz:{folder / "cifar10" / "cifar10_test10k.npz"}'
    said = []
    request = EvaluationRequest(
        init='data:resnet20_cifar10', is_run=False, data={'source': [source]}
    )
    (found,) = evaluate_all(request, said.append).values()
    assert found['n'] == 10_000 and found['accuracy'] == 0.9173  # as its authors' network


def test_labels_take_the_heads_order():
    data = Dataset(
        name='d', kind='text', inputs=['x'] * 3, labels=[0, 1, 1], class_names=('b', 'a')
    )
    found = with_classes_of(data, ('a', 'b', 'c'), 3)
    assert found.labels.tolist() == [1, 0, 0] and found.class_names == ('a', 'b', 'c')
    numbered = Dataset(
        name='d', kind='text', inputs=['x'] * 2, labels=[0, 1], class_names=('0', '1')
    )
    assert with_classes_of(numbered, ('a', 'b', 'c'), 3).class_names == ('a', 'b', 'c')
    assert with_classes_of(data, (), 4).class_names == ('0', '1', '2', '3')
    with pytest.raises(UserError, match='2 classes, the network 1'):
        with_classes_of(data, (), 1)
    hot = Dataset(
        name='d',
        kind='text',
        inputs=['x'],
        labels=[[1, 0]],
        class_names=('b', 'a'),
        task='multilabel',
    )
    assert with_classes_of(hot, ('a', 'c', 'b'), 3).labels.tolist() == [[0, 0, 1]]


@pytest.mark.slow
def test_a_checkpoint_without_a_run(digits, tmp_path):
    shutil.copytree(digits / 'model', tmp_path / 'alone')
    told, _ = asked(tmp_path / 'alone', is_run=False, data={'source': ['digits']})
    result = json.loads((digits / 'result.json').read_text())
    (found,) = told.values()
    assert found['accuracy'] == result['metrics']['accuracy']
    assert {path.name for path in tmp_path.iterdir()} == {'alone'}
    with pytest.raises(UserError, match=r'--data\.source'):
        asked(tmp_path / 'alone', is_run=False)
    with pytest.raises(UserError, match='is no run'):
        asked(tmp_path / 'alone', is_run=False, data={'source': ['digits']}, calibrate=True)
    with pytest.raises(UserError, match='no trained head'):
        asked('random:glyphs', is_run=False, data={'source': ['digits']})


@pytest.mark.slow
def test_a_temperature_is_fitted_kept_and_used(digits, tmp_path):
    told, said = asked(digits, calibrate=True)
    kept = json.loads((digits / 'model' / 'calibration.json').read_text())
    assert f'temperature {kept["temperature"]:.4g}' in said and 'after temperature' in said
    report = told['test']['reliability']
    assert report['calibrated']['log_loss'] < report['plain']['log_loss']
    assert report['sets']['0.9']['coverage'] > 0.8
    for name in ('', 'model'):
        options, lines = answer_options(open_trained(str(digits / name)), coverage=0.9)
        assert options.temperature == kept['temperature'] and len(lines) == 2
        assert options.nonconformity == kept['quantiles']['0.9']
    plain, lines = answer_options(open_trained(str(digits)), calibrated=False)
    assert plain.temperature == 1 and not lines
    with pytest.raises(UserError, match=r'0\.7 was not fitted'):
        answer_options(open_trained(str(digits)), coverage=0.7)
    with pytest.raises(UserError, match='its task has none'):
        answer_options(open_trained(str(digits)), threshold='validation')
    told, said = asked(digits, unfamiliar=[str(_noise(tmp_path)), 'digits', 'glyphs'])
    noise, own, letters = told['test']['unfamiliar'].values()
    assert set(noise) == {'energy', 'mahalanobis'} and said.count(': AUROC') == 6
    assert noise['mahalanobis']['auroc'] > 0.9  # noise is far from any digit
    assert own['mahalanobis']['auroc'] == own['energy']['auroc'] == 0.5  # from itself
    assert letters['mahalanobis']['n'][0] == told['test']['n']
    kept['weights'] = 'x'
    (digits / 'model' / 'calibration.json').write_text(json.dumps(kept))
    with pytest.raises(UserError, match='other weights'):
        answer_options(open_trained(str(digits)))
    (digits / 'model' / 'calibration.json').unlink()


@pytest.mark.slow
def test_the_scripts_flags(digits, repository, tmp_path):
    def call(*flags):
        return subprocess.run(
            [sys.executable, 'scripts/evaluate.py', *map(str, flags)],
            cwd=repository,
            capture_output=True,
            text=True,
            check=False,
        )

    np.savez(tmp_path / 'a.npz', x=np.zeros((6, 8, 8, 1), np.uint8), y=np.arange(6))
    both = (f'--data.source=npz:{tmp_path / "a.npz"}', '--data.source=digits')
    done = call(f'--workdir={digits}', *both, '--metrics=accuracy,log_loss')
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('accuracy') == 2 and 'a.npz: 6 examples' in done.stdout
    for flags, word in (
        ((f'--workdir={digits}', '--data.sorce=digits'), "did you mean 'source'"),
        ((f'--workdir={digits}', '--data.channels=two'), 'a whole number'),
        ((), 'expected one of --workdir=RUN and --init=CHECKPOINT'),
    ):
        done = call(*flags)
        assert done.returncode == 2 and word in done.stderr and 'Traceback' not in done.stderr


def _noise(folder):
    images = np.random.default_rng(1).integers(0, 255, (40, 8, 8, 1)).astype(np.uint8)
    np.savez(folder / 'noise.npz', x=images)
    return folder / 'noise.npz'


@pytest.mark.slow
def test_values_several_labels_and_hidden_tokens(tmp_path):
    draw = np.random.default_rng(4)
    x = draw.random((40, 8, 8, 1)).astype(np.float32)
    np.savez(tmp_path / 'v.npz', x=x, y=draw.random(40))
    hot = (draw.random((40, 3)) < 0.5).astype(np.int64)
    np.savez(tmp_path / 'm.npz', x=x, y=hot)
    for task, name in (('regression', 'v'), ('multilabel', 'm')):
        data = {'source': f'npz:{tmp_path / name}.npz', 'task': task, 'batch_size': 8}
        folder = finished(tmp_path / task, 'glyphs', data)
        told, _ = asked(folder, output=str(tmp_path / f'{task}.csv'))
        rows = rows_of(tmp_path / f'{task}.csv')
        losses = np.mean([float(row['loss']) for row in rows])
        wanted = told['test']['mse' if task == 'regression' else 'log_loss']
        assert losses == pytest.approx(wanted, rel=1e-5) and len(rows) == told['test']['n']
    _, said = asked(tmp_path / 'multilabel', calibrate=True)
    options, _ = answer_options(open_trained(str(tmp_path / 'multilabel')), threshold='validation')
    assert 0 < options.threshold < 1 and 'temperature' in said
    with pytest.raises(UserError, match='no probabilities to calibrate'):
        asked(tmp_path / 'regression', calibrate=True)


@pytest.mark.slow
def test_hidden_tokens(tmp_path):
    data = {
        'source': 'docstrings:unlabelled',
        'task': 'masked_tokens',
        'batch_size': 8,
        'max_length': 16,
    }
    folder = finished(tmp_path / 'masked', 'docstrings', data, model={'head': 'lm'}, freeze='full')
    told, _ = asked(folder, output=str(tmp_path / 'rows.csv'))
    rows = rows_of(tmp_path / 'rows.csv')
    assert sum(int(row['asked']) for row in rows) == told['test']['n']
