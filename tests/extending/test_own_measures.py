"""Own metrics and tasks are measured by what they say, and only where they are meant."""

import logging

import numpy as np
import pytest

from ftjax import registry
from ftjax.errors import UserError
from ftjax.tasks import Classification, evaluate, metric, task, task_of
from ftjax.tasks.metrics import check_metric
from ftjax.training.sweeps.vmapped_fit import counts_correct

OUTPUTS = np.random.default_rng(0).normal(size=(40, 2)).astype('f')
LABELS = (OUTPUTS[:, 1] > 0).astype(int)


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for kind in ('metric', 'task'):
        monkeypatch.setitem(registry.PARTS, kind, dict(registry.parts(kind)))


def of_several(outputs, labels):
    return np.corrcoef(outputs[:, 0], labels[:, 0])[0, 1]


def test_a_metric_that_nobody_named_and_that_fails_is_none_with_a_warning(caplog):
    metric('correlated')(of_several)
    metric('text')(lambda outputs, labels: 'no number')
    with caplog.at_level(logging.WARNING):
        found = evaluate(OUTPUTS, LABELS)
    assert found['correlated'] is None and found['text'] is None and 0 <= found['accuracy'] <= 1
    for word in ("metric 'correlated'", __file__, 'IndexError', 'name its tasks', "metric 'text'"):
        assert word in caplog.text
    batch = [(OUTPUTS, {'labels': LABELS, 'mask': np.ones(40, np.float32)})]
    with pytest.raises(UserError, match=r"metric 'correlated' of .* failed: IndexError"):
        task_of('classification').validate(batch, 'correlated')


def test_a_metric_of_other_tasks_is_not_computed(caplog):
    metric('correlated', 'regression')(of_several)
    assert 'correlated' not in evaluate(OUTPUTS, LABELS) and not caplog.text
    values = OUTPUTS[:, :1]
    assert evaluate(values, values, task='regression')['correlated'] == pytest.approx(1)
    with pytest.raises(UserError, match="'correlated' is none of a task of classification"):
        check_metric('correlated', 'classification')
    assert check_metric('correlated', 'regression').higher_is_better


@pytest.mark.parametrize('name', ['auroc', 'accuracy', 'loss', 'log_loss', 'mse'])
def test_a_shipped_metric_keeps_its_name(name):
    with pytest.raises(UserError, match=f"metric '{name}' is one of ftjax"):
        metric(name, higher_is_better=False)
    assert name not in registry.PARTS['metric']


@pytest.mark.parametrize(
    ('fields', 'counted'),
    [
        ({}, True),
        ({'losses': lambda self, outputs, batch, options: outputs.sum(1)}, True),
        ({'default_metric': 'f1_macro'}, False),
        ({'values': lambda self, *given, **more: {'accuracy': 0.5}}, False),
        ({'statistics': lambda self, *given: None}, False),
        ({'weights': lambda self, batch: batch['mask'] / 2}, False),
        ({'weights': lambda self, batch: batch['mask'], 'counts_correct': True}, True),
    ],
)
def test_runs_in_one_program_are_scored_by_what_the_task_says(fields, counted):
    assert counts_correct(task_of('classification')) and not counts_correct(task_of('regression'))
    task('mine')(type('Mine', (Classification,), fields))
    assert counts_correct(task_of('mine')) == counted
