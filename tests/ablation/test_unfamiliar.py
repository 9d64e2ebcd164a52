"""AUROC of out-of-distribution scores on further test sets: in rows, summary and tables."""

import json

import numpy as np
import pytest

from ftjax.ablation.cells import CellRunner
from ftjax.ablation.cells.extra_test_sets import further_tests
from ftjax.ablation.cells.unfamiliar import unfamiliar_fields
from ftjax.ablation.grid.rows import check_row
from ftjax.ablation.report.html import report_html
from ftjax.ablation.report.tables import table_markdown
from ftjax.ablation.settings import AblationSettings
from ftjax.ablation.summary.summary import summarise
from ftjax.data import eval_batches
from ftjax.errors import UserError
from ftjax.evaluation.predict import predict
from ftjax.evaluation.predictions import gather

VALUES = {
    'init': 'glyphs',
    'data': {
        'source': 'digits:scattered',
        'examples_per_class': 2,
        'val_per_class': 2,
        'batch_size': 10,
        'eval_batch_size': 40,
    },
    'optimizer': {'name': 'sgd', 'learning_rate': 0.1},
    'train': {'steps': 2},
}
NOISY = {'noisy': {'corruption': 'gaussian_noise:0.5'}, 'same': {'seed': 0}}


def runner_of(values=VALUES, also=NOISY, **more):
    settings = AblationSettings(
        arms={'head': 'head'}, rates=(0.1, 0.2), also_evaluate=also, unfamiliar_on=40, **more
    )
    return CellRunner(values, settings)


def outputs(prepared, test, stage):
    """Of the 40 examples that are looked at, evenly spaced."""
    data = test.take(np.arange(40) * len(test) // 40)
    batches = eval_batches(data, 40, prepared.config.data.image_size, prepared.preprocessing)
    given = prepared.network, prepared.variables, batches, prepared.preprocessing
    return gather(predict(*given, stage=stage)).outputs


@pytest.mark.slow
def test_it_is_the_auroc_of_scikit_learn_on_scores_made_here():
    from scipy.special import logsumexp
    from sklearn.metrics import roc_auc_score

    prepared = runner_of().prepared('head', 0.1, 0)
    tests = further_tests(prepared, NOISY)
    assert unfamiliar_fields(prepared, prepared.variables, tests, 0) == {}
    found = unfamiliar_fields(prepared, prepared.variables, tests, 40)['unfamiliar']
    assert list(found) == ['noisy', 'same']
    assert found['same'] == {'energy': 0.5, 'mahalanobis': 0.5}
    assert found['noisy']['mahalanobis'] > 0.9
    own, noisy = (
        -logsumexp(np.float64(outputs(prepared, part, None)), axis=1)
        for part in (prepared.data.test, tests[0].dataset)
    )
    want = roc_auc_score([0] * 40 + [1] * 40, np.concatenate([own, noisy]))
    assert found['noisy']['energy'] == pytest.approx(want, abs=1e-3)


@pytest.mark.slow
def test_rows_hold_it_alone_and_together():
    runner = runner_of()
    alone = [runner('head', rate, 0) for rate in (0.1, 0.2)]
    together = runner.together((('head', 0.1, 0), ('head', 0.2, 0)))
    for row, one in zip(together, alone, strict=True):
        for name in NOISY:
            assert row['unfamiliar'][name] == pytest.approx(one['unfamiliar'][name], abs=2e-3)


def rows_of(values, name='noisy'):
    """Rows of two arms, an AUROC a seed; only the second arm has any."""
    return [
        {
            'arm': arm,
            'seed': seed,
            'rate': 0.1,
            'status': 'ok',
            'val': {'accuracy': 0.8},
            'test': {'accuracy': 0.8 + 0.01 * seed},
            **({'unfamiliar': {name: {'energy': found}}} if arm == 'full' else {}),
        }
        for arm in ('head', 'full')
        for seed, found in enumerate(values)
    ]


def test_the_report_tells_mean_and_interval_over_seeds():
    summary = summarise(rows_of([0.7, 0.8, 0.9]), reference='head', seeds=(0, 1, 2))
    interval = summary['tasks'][0]['arms'][1]['unfamiliar']['noisy']['energy']
    half = 4.302653 * 0.1 / np.sqrt(3)  # Student's t, 2 degrees of freedom
    assert interval['estimate'] == pytest.approx(0.8)
    assert interval['high'] == pytest.approx(0.8 + half, rel=1e-5)
    table = table_markdown(json.loads(json.dumps(summary)))
    assert 'AUROC' in table and 'noisy, energy' in table and '0.800 [0.552, 1.000]' in table
    one = summarise(rows_of([0.7]), reference='head', seeds=(0,))
    assert '0.700 |' in table_markdown(one)
    without = [{k: v for k, v in row.items() if k != 'unfamiliar'} for row in rows_of([0.7])]
    assert 'AUROC' not in table_markdown(summarise(without, reference='head', seeds=(0,)))


def test_names_of_test_sets_stay_text():
    summary = summarise(rows_of([0.7, 0.8], '<b>a|b</b>'), reference='head', seeds=(0, 1))
    page = report_html(summary, title='t', setup={}, provenance={})
    assert '<b>a|b</b>' not in page and '&lt;b&gt;a|b&lt;/b&gt;' in page


def test_mistakes_are_told_before_a_run():
    with pytest.raises(UserError, match='unfamiliar_on needs test sets'):
        runner_of(also={})
    with pytest.raises(UserError, match=r'line 3.*unfamiliar'):
        check_row({**rows_of([0.7])[1], 'unfamiliar': 3}, 'runs.jsonl line 3')
