"""A row says with which code of one's own it was made: of its metrics and its baseline too."""

import pytest

from ftjax import registry
from ftjax.ablation.cells import CellRunner
from ftjax.ablation.cells.baselines import BASELINES, Baseline
from ftjax.ablation.settings import AblationSettings
from ftjax.tasks import metric

CONFIG = {
    'init': 'random:glyphs',
    'data': {'source': 'digits', 'examples_per_class': 4, 'val_per_class': 2, 'batch_size': 8},
    'train': {'steps': 2},
}


@pytest.fixture
def own(monkeypatch):
    """`own(score, runs)`: the metric and the baseline, with another number in each."""
    monkeypatch.setitem(registry.PARTS, 'metric', dict(registry.parts('metric')))

    def define(score, runs):
        metric('own_score')(lambda outputs, labels: score)
        functions = {'row': lambda self, data, prepared, settings: {'runs': runs}}
        kind = type('Mine', (Baseline,), {'network': False, '__module__': __name__, **functions})
        monkeypatch.setitem(BASELINES, 'mine', kind)

    return define


def test_rows_tell_the_code_of_the_metric_and_the_baseline(own):
    own(0.5, 1)
    arms = {'head': 'head', 'mine': {'baseline': 'mine'}, 'pixels': {'baseline': 'pixels'}}
    settings = AblationSettings(arms=arms, rates=(1e-2,), seeds=(0,), metric='own_score')
    runner, found = CellRunner(CONFIG, settings), []
    for score, runs in ((0.5, 1), (0.25, 1), (0.5, 2)):
        own(score, runs)
        head, mine = runner.identity(('head', 1e-2, 0)), runner.identity(('mine', None, 0))
        found.append((head['code']['parts'], mine['code']['parts']))
    first, other_metric, other_baseline = found
    assert set(first[0]) == {'metric own_score'} and set(first[1]) == {'baseline Mine'}
    assert other_metric[0] != first[0] == other_baseline[0]
    assert other_metric[1] == first[1] != other_baseline[1]
    assert 'code' not in runner.identity(('pixels', None, 0))
