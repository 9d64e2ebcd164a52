"""Cells of real networks: alone, together, on folds, and on further test sets."""

import dataclasses
import pickle
import types

import numpy as np
import pytest
from PIL import Image

from ftjax.ablation.cells import CellRunner
from ftjax.ablation.cells.extra_test_sets import FurtherTest, further_settings
from ftjax.ablation.cells.linear_probe_row import features_of
from ftjax.ablation.cells.row import fitted_metrics
from ftjax.ablation.grid.run_grid import run_grid
from ftjax.ablation.report.tables import table_markdown
from ftjax.ablation.settings import AblationSettings
from ftjax.ablation.summary.summary import summarise
from ftjax.data.load import load_test
from ftjax.data.settings import DataSettings
from ftjax.errors import UserError
from ftjax.evaluation import sliding
from ftjax.runs.evaluate import split_metrics
from ftjax.runs.run import train

VALUES = {
    'init': 'glyphs',
    'data': {
        'source': 'digits:scattered',
        'examples_per_class': 2,
        'val_per_class': 2,
        'batch_size': 10,
    },
    'optimizer': {'name': 'sgd', 'learning_rate': 0.1},
    'train': {'epochs': 3.0},
}
CLOCKS = {'wall_seconds', 'step_seconds_median', 'step_flops', 'step_bytes', 'vectorised'}


def runner_of(arms=('head',), rates=(1e-2, 1e-1), seeds=(0,), values=VALUES, **more):
    settings = AblationSettings(
        arms={arm: arm for arm in arms}, rates=rates, seeds=seeds, max_extra=0, **more
    )
    return CellRunner(values, settings)


def flat(value, path=''):
    """{path: number or text} of nested fields."""
    if isinstance(value, dict):
        return {k: v for key, x in value.items() for k, v in flat(x, f'{path}/{key}').items()}
    return {path: value}


@pytest.mark.slow
@pytest.mark.parametrize('arm', ['head', 'last:1'])
def test_rows_of_a_shared_program_are_those_of_separate_runs(arm):
    # The last rate throws the weights beyond float32.
    rates = (1e-2, 1e-1, 1e38)
    runner = runner_of((arm,), rates, also_evaluate={'noisy': {'corruption': 'gaussian_noise:0.3'}})
    assert runner.group(arm) == arm
    rows = runner.together(tuple((arm, rate, 0) for rate in rates))
    alone = [runner(arm, rate, 0) for rate in rates]
    assert [row['status'] for row in rows] == ['ok', 'ok', 'diverged']
    assert alone[2]['status'] == 'diverged'
    for row, one in zip(rows[:2], alone, strict=False):
        assert row['vectorised'] == 3 and row['shifts']['noisy']['n'] == row['test']['n']
        found = {k: v for k, v in flat(row).items() if k.split('/')[1] not in CLOCKS}
        want = {k: v for k, v in flat(one).items() if k.split('/')[1] not in CLOCKS}
        assert found.keys() == want.keys()
        for key, value in found.items():
            exact = isinstance(value, str)
            assert value == (want[key] if exact else pytest.approx(want[key], rel=1e-5)), key
    assert rows[0]['val'] != rows[1]['val']


@pytest.mark.slow
def test_what_stands_in_the_way_of_sharing_is_known_before(tmp_path):
    runner = runner_of(('full', 'head'))
    assert not runner.group('full') and runner.survey('full').alone
    assert runner.survey('full').seconds > runner.survey('head').seconds > 0
    for section, change, words in (
        ('data', {'augment': 'shift:2'}, 'data.augment'),
        ('train', {'cache': 'off'}, "train.cache is 'off'"),
        ('train', {'skip_bad': 1}, 'train.skip_bad'),
        ('train', {'patience': 2}, 'train.patience'),
    ):
        values = {**VALUES, section: {**VALUES[section], **change}}
        assert words in runner_of(values=values).survey('head').alone


@pytest.mark.slow
def test_folds_are_test_splits_of_their_cells(tmp_path):
    runner = runner_of(rates=(1e-1,), seeds=(3,), folds=3)
    tests = [runner.data_of(runner.config_of('head', 0.1, draw)).test for draw in (9, 10, 11)]
    ids = np.concatenate([test.ids for test in tests])
    assert len(ids) == len(set(ids)) == 1797
    options = {'together': runner.together, 'group': runner.group}
    rows = run_grid(runner.settings, runner, tmp_path, {}, progress=False, **options)
    assert [(row['seed'], row['fold']) for row in rows] == [(9, 0), (10, 1), (11, 2)]
    assert sum(row['test']['n'] for row in rows) == 1797
    again = pickle.loads(pickle.dumps(runner))  # noqa: S301
    assert again('head', 0.1, 10)['test'] == rows[1]['test']


@pytest.mark.slow
def test_the_table_shows_what_was_forgotten_and_what_is_shifted(tmp_path):
    also = {'noisy': {'corruption': 'gaussian_noise:0.3'}, 'print': PRINT, 'upright': 'digits'}
    runner = runner_of(('head', 'full'), rates=(3e-1,), seeds=(0, 1), also_evaluate=also)
    rows = run_grid(runner.settings, runner, tmp_path, {}, progress=False)
    by_arm = {arm: [r['shifts'] for r in rows if r['arm'] == arm] for arm in ('head', 'full')}
    for shifts in by_arm['head']:
        # Under a frozen trunk the first head answers as it did before.
        assert shifts['print'] == by_arm['head'][0]['print'] and shifts['print']['accuracy'] > 0.9
    kept = [np.mean([s['print']['accuracy'] for s in by_arm[arm]]) for arm in ('head', 'full')]
    assert kept[0] > kept[1]
    table = table_markdown(summarise(rows, reference='full', seeds=(0, 1)))
    header = next(line for line in table.splitlines() if 'noisy' in line)
    assert [cell.strip() for cell in header.split('|')[1:-1]] == ['arm', *also]
    with pytest.raises(UserError, match="also_evaluate 'letters': glyphs:400 test has classes"):
        runner_of(also_evaluate={'letters': 'glyphs:400'})('head', 0.1, 0)


@pytest.mark.slow
def test_a_probe_is_the_logistic_regression_of_what_reaches_the_head(tmp_path):
    from sklearn.linear_model import LogisticRegression

    settings = AblationSettings(arms={'probe': {'baseline': 'probe'}}, rates=(1e-2,), seeds=(0,))
    runner = CellRunner(VALUES, settings)
    (row,) = run_grid(settings, runner, tmp_path, {}, progress=False)
    prepared = runner.prepared('probe', None, 0)
    data = prepared.data
    train, test = (features_of(prepared, part) for part in (data.train, data.test))
    scale = train.std(axis=0) + (train.std(axis=0) == 0)
    model = LogisticRegression(C=row['penalty'], tol=1e-8, max_iter=10_000)
    model.fit((train - train.mean(axis=0)) / scale, data.train.labels)
    score = model.score((test - train.mean(axis=0)) / scale, data.test.labels)
    assert row['rate'] is None and row['test']['accuracy'] == pytest.approx(
        score, abs=2 / len(test)
    )
    assert row['params_trainable'] == 10 * (train.shape[1] + 1) < row['params_total']
    with pytest.raises(UserError, match="did you mean 'probe'"):
        CellRunner(VALUES, dataclasses.replace(settings, arms={'p': {'baseline': 'prob'}}))(
            'p', None, 0
        )


PRINT = {'source': 'glyphs:400', 'head': 'source', 'seed': 0}


@pytest.mark.parametrize(
    ('given', 'words'),
    [
        ({'corupption': 'gaussian_noise:1'}, "did you mean 'corruption'"),
        ({'corruption': 'noise'}, 'data.corruption'),
        ({'source': 'glyphs', 'head': 'sorce'}, "did you mean 'source'"),
    ],
)
def test_a_further_test_set_that_cannot_be_meant_is_refused(given, words):
    with pytest.raises(UserError, match=words):
        further_settings(DataSettings(), 'shifted', given)
    settings, head = further_settings(DataSettings(examples_per_class=9, seed=2), 'p', PRINT)
    assert (settings.source, settings.seed, settings.examples_per_class) == ('glyphs:400', 0, None)
    assert head == 'source'


def test_a_further_test_set_is_answered_by_windows_where_the_data_slide(tmp_path, monkeypatch):
    rng, shapes, counts = np.random.default_rng(0), [], []
    for folder in ('images', 'masks'):
        (tmp_path / folder).mkdir()
    for name, size in {'a': (6, 9), 'b': (5, 4)}.items():
        mask = rng.integers(0, 2, size, dtype=np.uint8)
        # What is bright is of the second class.
        Image.fromarray(np.repeat(255 * mask[..., None], 3, 2)).save(
            tmp_path / f'images/{name}.png'
        )
        Image.fromarray(mask).save(tmp_path / f'masks/{name}.png')
    given = {'source': f'masks:{tmp_path}', 'task': 'segmentation', 'image_size': (4, 4)}
    settings = DataSettings(**given, sliding=0.5, test_fraction=0.0, val_fraction=0.0)

    def answered(network, variables, batches, *more, **options):
        for batch in batches:
            shapes.append(batch['inputs'].shape[1:])
            counts.append(int(batch['mask'].sum()))
            bright = batch['inputs'][..., :1] / 255.0
            yield np.concatenate([0.5 - bright, bright - 0.5], -1), batch

    monkeypatch.setattr(sliding, 'predict', answered)
    test = FurtherTest('same', load_test(settings), settings, None, None)
    assert test.metrics({'params': {}})['miou'] == 1.0  # at the size of the images
    assert {*shapes} == {(4, 4, 3)} and sum(counts) > 2


def test_what_is_fitted_answers_at_the_threshold_that_validation_chose():
    logits = np.log([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]])
    part = types.SimpleNamespace(labels=np.array([0, 1, 0, 1]))
    data = types.SimpleNamespace(task='classification', class_names=('a', 'b'), val=part, test=part)

    def at(rule):
        config = types.SimpleNamespace(train=types.SimpleNamespace(threshold=rule))
        return fitted_metrics(types.SimpleNamespace(config=config, data=data), logits, logits)

    assert 'threshold' not in at('')[1] and at('')[1]['accuracy'] == 0.75
    for found in at('f1'):
        assert found['threshold'] == pytest.approx(0.4) and found['accuracy'] == 1.0
    assert at('0.9')[1]['threshold'] == 0.9 and at('0.9')[1]['accuracy'] == 0.5


def test_a_baseline_that_no_threshold_reaches_is_refused_beside_it():
    settings = AblationSettings(arms={'raw': {'baseline': 'pixels'}}, seeds=(0,))
    runner = CellRunner({**VALUES, 'train': {'threshold': 'f1'}}, settings)
    with pytest.raises(UserError, match="'raw' is a baseline without a network"):
        runner.check()


@pytest.mark.slow
def test_a_metric_that_training_does_not_compute_is_there_for_the_choice(tmp_path):
    rates = (1e-2, 1e-1)
    runner = runner_of(('head',), rates, metric='f1_macro')
    runner.check()
    options = {'together': runner.together, 'group': runner.group}
    rows = run_grid(runner.settings, runner, tmp_path, {}, progress=False, **options)
    assert [row['vectorised'] for row in rows] == [2, 2]
    prepared = runner.prepared('head', 1e-1, 0)
    fitted, _ = train(prepared, progress=False)
    want = split_metrics(prepared, fitted.variables, 'val')
    (row,) = [row for row in rows if row['rate'] == 1e-1]
    alone = runner('head', 1e-1, 0)
    for found in (row, alone):
        assert found['val']['f1_macro'] == pytest.approx(want['f1_macro'])
        assert found['val']['accuracy'] == pytest.approx(fitted.validation['accuracy'])
        assert found['test_fingerprint'] == prepared.data.test.fingerprint
    summary = summarise(rows, reference='head', metric='f1_macro')
    assert summary['tasks'][0]['arms'][0]['val_mean'] == max(row['val']['f1_macro'] for row in rows)
