"""Of errors and losses the lowest is best, wherever scores are compared or shown."""

import numpy as np
import pytest

from ftjax.ablation.cells.baselines import Pixels
from ftjax.ablation.cells.row import numbers_of
from ftjax.ablation.cells.run_cell import CellRunner
from ftjax.ablation.cells.task_grids import run_grids
from ftjax.ablation.gates.gates import evaluate_gates
from ftjax.ablation.grid.run_grid import run_grid
from ftjax.ablation.grid.variants import chosen, expanded
from ftjax.ablation.report import arm_columns
from ftjax.ablation.report.figures import draw
from ftjax.ablation.report.sentences import overall_sentences, verdict_sentences
from ftjax.ablation.report.tables import table_markdown
from ftjax.ablation.settings import AblationSettings
from ftjax.ablation.summary.summary import summarise
from ftjax.data import Splits
from ftjax.data.dataset import Dataset
from ftjax.errors import UserError
from ftjax.evaluation.metric import Metric
from ftjax.plotting import number_formats
from ftjax.tasks import evaluate, task_of
from ftjax.tasks.metrics import check_metric, known_metrics, metric_of

LOWER = ('mse', 'rmse', 'mae', 'loss', 'log_loss', 'ece', 'brier', 'hamming_loss', 'perplexity')
HIGHER = ('accuracy', 'balanced_accuracy', 'f1_macro', 'f1_micro', 'exact_match', 'r2', 'pearson')
RATES = (1e-4, 1e-3, 1e-2)
ERRORS = dict(zip(RATES, (0.288, 0.031, 0.044), strict=True))  # the best rate is the middle one


def value_of(arm, rate, seed, metric):
    """An error by rate, and twice that for the arm `bad`; its opposite where higher is better."""
    error = ERRORS[rate] * (2 if arm == 'bad' else 1) * (1 + 0.01 * seed + 0.001 * len(arm) * seed)
    return error if metric in LOWER else 1 - error


def grid_of(metric, tmp_path, **more):
    settings = AblationSettings(
        arms={'bad': 'full', 'good': 'head'},
        rates=RATES,
        seeds=(0, 1, 2),
        **{'metric': metric, **more},
    )

    def execute(arm, rate, seed):
        values = {metric: value_of(arm.split(' ')[0], rate, seed, metric)}
        return {'status': 'ok', 'val': values, 'test': values}

    return settings, run_grid(expanded(settings), execute, tmp_path, {}, progress=False)


@pytest.mark.parametrize('metric', [*LOWER, *HIGHER])
def test_rates_verdicts_and_words_follow_the_direction(metric, tmp_path):
    _, rows = grid_of(metric, tmp_path)
    summary = summarise(rows, reference='bad', metric=metric)
    (task,) = summary['tasks']
    assert [arm['rate'] for arm in task['arms']] == [1e-3, 1e-3]
    assert {row['rate'] for row in rows} == set(RATES)  # none on an edge: nothing was added
    assert task['arms'][1]['difference']['verdict'] == 'better'
    assert task['arms'][1]['difference']['probability_better'] > 0.99
    best, other = verdict_sentences(task, summary)
    assert best.startswith('The best mean is that of good') and 'better than bad' in other
    above, worst, report = evaluate_gates(
        [('above', 'good', 'bad'), ('worst', 'bad'), ('difference', 'good', 'bad')], summary
    )
    assert above['passed'] and above['value'] > 0 and worst['passed']
    assert ('signs are turned' in above['gate']) == (metric in LOWER)
    assert (report['value'] < 0) == (metric in LOWER) and 'turned' not in report['gate']
    assert ('lower is better' in table_markdown(summary)) == (metric in LOWER)


@pytest.mark.parametrize('metric', ['mse', 'r2'])
def test_the_better_variant_stands_for_its_arm(metric, tmp_path):
    settings = AblationSettings(
        arms={'a': 'full'},
        rates=(1e-3,),
        seeds=(0, 1),
        metric=metric,
        tune={'optimizer.weight_decay': (0.0, 0.1)},
    )

    def execute(arm, rate, seed):
        value = value_of('bad' if '0.0' in arm else 'good', rate, seed, metric)
        return {'status': 'ok', 'val': {metric: value}, 'test': {metric: value}}

    kept, _ = chosen(run_grid(expanded(settings), execute, tmp_path, {}, progress=False), settings)
    assert {row['tuned']['optimizer.weight_decay'] for row in kept} == {0.1}


def test_over_tasks_the_lower_error_is_better_and_profiles_count_below(tmp_path):
    _, rows = grid_of('mse', tmp_path)
    rows = [{**row, 'task': task} for task in ('one', 'two') for row in rows]
    summary = summarise(rows, reference='bad', metric='mse')
    assert 'good: better than bad' in overall_sentences(summary)[0]
    assert 'P(better) >0.99' in overall_sentences(summary)[0]
    profiles = {arm['arm']: arm['profile'] for arm in summary['overall']['arms']}
    assert profiles['good']['share'][-1] == profiles['bad']['share'][-1] == 1
    middle = len(profiles['good']['share']) // 2
    assert profiles['good']['share'][middle] == 1 > profiles['bad']['share'][middle] == 0
    assert profiles['good']['thresholds'] == sorted(profiles['good']['thresholds'])
    labels = [one.figure.axes[0].get_ylabel() for one in draw(summary) if one.name == 'profiles']
    assert labels == ['share of runs below τ']


def test_an_unfinished_run_counts_as_the_highest_error(tmp_path):
    _, rows = grid_of('mse', tmp_path)
    lost = next(row for row in rows if (row['arm'], row['rate']) == ('good', 1e-3))
    lost |= {'status': 'diverged', 'val': {}, 'test': {}}
    wide = [{**row, 'task': t} for t in ('one', 'two') for row in rows if row['rate'] == 1e-3]
    good = summarise(wide, reference='bad', metric='mse')['overall']['arms'][1]
    assert good['profile']['share'][-2] == pytest.approx(2 / 3)


@pytest.mark.parametrize(('metric', 'low'), [('mse', 0.0), ('perplexity', 1.0), ('r2', None)])
def test_no_interval_is_written_or_drawn_below_a_bound(metric, low):
    values = {'mse': (0.0, 0.1), 'perplexity': (1.0, 1.4), 'r2': (0.0, 0.1)}[metric]
    rows = [
        {'arm': arm, 'rate': None, 'seed': seed, 'status': 'ok', 'val': v, 'test': v}
        for arm in ('a', 'b')
        for seed, value in enumerate(values)
        for v in [{metric: value}]
    ]
    summary = summarise(rows, reference='a', metric=metric)
    interval = summary['tasks'][0]['arms'][0]['mean']
    assert interval['low'] < (0.0 if low is None else low)  # the t interval knows no bound
    written = number_formats.bounds(interval, metric, clip=True)
    assert written.startswith('[−' if low is None else f'[{low:g},')
    assert written in arm_columns.task_table(summary['tasks'][0], summary)[1][0]
    drawn = next(one.figure for one in draw(summary) if one.name == 'scores_by_arm')
    ends = [x for line in drawn.axes[0].lines for x in line.get_xdata()]
    assert min(ends) >= (interval['low'] if low is None else low)


def test_loss_means_the_loss_of_the_task(tmp_path):
    values = {'val': {'loss': 0.5, 'accuracy': 0.8}, 'test': {'log_loss': 0.6, 'accuracy': 0.8}}
    rows = [{'arm': 'a', 'rate': None, 'seed': s, 'status': 'ok', **values} for s in (0, 1)]
    for metric in ('loss', 'log_loss'):
        arm = summarise(rows, reference='a', metric=metric)['tasks'][0]['arms'][0]
        assert (arm['val_mean'], arm['mean']['estimate']) == (0.5, 0.6)
    assert metric_of('mse').value_in({'loss': 0.25}) == 0.25


def test_a_metric_of_ones_own_brings_its_direction():
    own = Metric(name='energy', higher_is_better=False, bounds=(0.0, None))
    rows = [
        {'arm': arm, 'rate': rate, 'seed': 0, 'status': 'ok', 'val': v, 'test': v}
        for arm in ('a', 'b')
        for rate in RATES
        for v in [{'energy': ERRORS[rate]}]
    ]
    summary = summarise(rows, reference='a', metric=own)
    assert summary['tasks'][0]['arms'][0]['rate'] == 1e-3 and not summary['higher_is_better']
    with pytest.raises(UserError, match="unknown metric 'energy'"):
        summarise(rows, reference='a', metric='energy')


MADE = {
    'classification': evaluate(np.eye(7)[[0, 1, 2, 3]], np.array([0, 1, 2, 4])),
    'causal_lm': task_of('causal_lm').measure(
        [(np.ones((1, 3, 3)), {'labels': np.ones((1, 3, 2), int), 'mask': np.ones((1, 3))})]
    ),
    'masked_features': task_of('masked_features').measure(
        [(np.eye(3), {'labels': np.ones((3, 3)), 'mask': np.eye(3)})]
    ),
    'regression': evaluate(np.arange(4.0), np.array([0.0, 1, 2, 4]), task='regression'),
    'multilabel': evaluate(
        np.array([[1.0, -1], [1, 1]]), np.array([[1, 0], [0, 1]]), task='multilabel'
    ),
    'embedding': task_of('embedding').measure(
        [(np.eye(6).reshape(3, 2, 6), {'labels': np.arange(9).reshape(3, 3), 'mask': np.ones(3)})]
    ),
    'multiple_choice': task_of('multiple_choice').measure(
        [(np.eye(3)[..., None], {'labels': np.array([[0, 3], [1, 3], [0, 3]])})]
    ),
    'text_ranking': task_of('text_ranking').measure(
        [(np.eye(3)[..., None], {'labels': np.array([[1, 0, 0], [1, 0, 2], [0, 0, 1.0]])})]
    ),
    'text_similarity': task_of('text_similarity').measure(
        [(np.array([[[1, 0], [1, 0.5]], [[1, 0], [0, 1]]]), {'labels': np.array([0.9, 0.2])})]
    ),
    'token_classification': task_of('token_classification').measure(
        [(np.eye(5)[None, :3], {'labels': np.array([[0, 1, 3]]), 'mask': np.ones((1, 3))})]
    ),
    'masked_tokens': task_of('masked_tokens').measure(
        [(np.eye(5)[None, :3], {'labels': np.array([[0, 1, 3]]), 'mask': np.ones((1, 3))})]
    ),
}


COUNTS = ('n', 'rows', 'texts', 'words', 'bytes', 'queries', 'candidates', 'unigram_entropy')


@pytest.mark.parametrize('task', MADE)
def test_the_table_of_metrics_is_that_of_the_evaluation(task):
    made = {
        key
        for key, value in numbers_of(MADE[task]).items()
        if key not in COUNTS and value is not None
    }
    outputs = len(MADE[task].get('per_class', ()))
    defined = [m for m in task_of(task).metrics if not task_of(task).obstacle(m.name, outputs)]
    known = {metric.name: metric for metric in defined}
    assert made == set(known)
    for name in made:
        low, high = known[name].bounds
        assert (low is None or low <= MADE[task][name]) and (
            high is None or MADE[task][name] <= high
        )
        assert known_metrics()[name].higher_is_better == known[name].higher_is_better


def test_the_score_of_a_validation_is_the_default_metric_with_its_sign():
    batch = {'labels': np.array([0.0, 2.0]), 'mask': np.ones(2)}
    found = task_of('regression').validate([(np.array([[1.0], [1.0]]), batch)])
    assert found['score'] == -found['mse'] == -1.0
    batch = {'labels': np.array([0, 1]), 'mask': np.ones(2)}
    found = task_of('classification').validate([(np.eye(2), batch)])
    assert found['score'] == found['accuracy'] == 1.0


@pytest.mark.parametrize(
    ('name', 'task', 'words'),
    [
        ('acuracy', 'classification', "did you mean 'accuracy'"),
        ('accuracy', 'regression', r'none of a task of regression; .*mse'),
        ('mse', 'classification', 'none of a task of classification'),
        ('f1', 'multilabel', 'f1_m'),
        ('perplexity', 'classification', 'none of a task of classification'),
        ('top5_accuracy', 'classification', 'undefined with 3 classes; expected 6'),
    ],
)
def test_a_metric_that_the_task_has_not_is_named(name, task, words):
    with pytest.raises(UserError, match=words):
        check_metric(name, task, 3)


def test_a_misspelt_metric_is_refused_with_the_settings():
    with pytest.raises(UserError, match=r"config.ablation.metric: 'acurracy'; did you mean 'acc"):
        AblationSettings(arms={'a': 'full'}, rates=(1e-3,), metric='acurracy')


def stripes(count, seed, task='classification'):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    inputs = (rng.random((count, 4, 4, 1)) * 120 + 120 * labels[:, None, None, None]).astype('u1')
    names = ('dark', 'light') if task == 'classification' else ()
    labels = labels if task == 'classification' else labels.astype(np.float32)
    return Dataset(
        name='stripes', kind='image', inputs=inputs, labels=labels, class_names=names, task=task
    )


def runner_of(monkeypatch, task='classification', val=8, metric='accuracy', arms=None):
    data = Splits(
        *(), train=stripes(16, 0, task), val=stripes(val, 1, task), test=stripes(8, 2, task)
    )
    monkeypatch.setattr('ftjax.ablation.cells.run_cell.load_data', lambda settings: data)
    settings = AblationSettings(arms=arms or {'head': 'head'}, rates=RATES, metric=metric)
    return CellRunner({'model': {'name': 'vit'}, 'init': ''}, settings)


@pytest.mark.parametrize(
    ('given', 'words'),
    [
        ({'task': 'regression'}, r"config.ablation.metric: 'accuracy' is none of .*regression"),
        ({'metric': 'mse'}, "'mse' is none of a task of classification"),
        ({'val': 0}, 'is tuned by validation, and stripes holds no examples'),
        ({'task': 'regression', 'metric': 'mse', 'arms': {'p': {'baseline': 'pixels'}}}, 'needs'),
        ({'arms': {'p': {'baseline': 'pixel'}}}, "did you mean 'pixels'"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_the_first_run(
    given, words, monkeypatch, tmp_path
):
    runner = runner_of(monkeypatch, **given)
    with pytest.raises(UserError, match=words):
        run_grids(runner.values, runner.settings, tmp_path, engine=None)
    assert not any(tmp_path.iterdir())


def test_a_mistake_in_the_last_task_does_not_wait_for_the_first(monkeypatch, tmp_path):
    def load(settings):
        none = stripes(0, 1) if settings.val_fraction == 0 else stripes(8, 1)
        return Splits(train=stripes(16, 0), val=none, test=stripes(8, 2))

    monkeypatch.setattr('ftjax.ablation.cells.run_cell.load_data', load)
    tasks = {'fine': {'data.val_fraction': 0.2}, 'empty': {'data.val_fraction': 0.0}}
    settings = AblationSettings(arms={'head': 'head'}, rates=RATES, tasks=tasks)
    with pytest.raises(UserError, match='is tuned by validation'):
        run_grids({'model': {'name': 'vit'}, 'init': ''}, settings, tmp_path, engine=None)
    assert not any(tmp_path.iterdir())


def test_pixels_have_every_metric_on_both_splits():
    data = Splits(train=stripes(16, 0), val=stripes(8, 1), test=stripes(8, 2))
    row = Pixels().row(data, None, AblationSettings(arms={'p': {'baseline': 'pixels'}}))
    for name in ('accuracy', 'f1_macro', 'log_loss', 'balanced_accuracy'):
        assert metric_of(name).value_in(row['val']) is not None
        assert metric_of(name).value_in(row['test']) is not None
