"""Networks compared on frozen features: evidence, probes, paired differences, licences, parity."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from ftjax.ablation.networks import network_facts
from ftjax.ablation.networks.network_facts import parity_of
from ftjax.ablation.networks.network_page import answer_sentences, network_page, network_text
from ftjax.ablation.networks.network_ranking import check_networks, compare_networks
from ftjax.ablation.statistics.paired_ratios import differences_to
from ftjax.data import Dataset, Splits
from ftjax.data.labels import labels_of
from ftjax.errors import UserError
from ftjax.evaluation.latency import Calls
from ftjax.evaluation.metric import error, share
from ftjax.evaluation.ratio import Ratio
from ftjax.models.registry import build
from ftjax.pretrained.initialise import random_variables
from ftjax.pretrained.licence import licence_of
from ftjax.pretrained.own_format import save_own
from ftjax.runs.network_opening import standard_preprocessing
from ftjax.training.sweeps.label_probes import probe_outputs, target_columns
from ftjax.training.sweeps.linear_probe import PATH
from ftjax.training.sweeps.log_evidence import log_evidence


@pytest.mark.parametrize(('n', 'd'), [(40, 5), (12, 20), (15, 15)])
def test_evidence_is_the_largest_of_the_normal_density_and_scikit_learns(n, d):
    from scipy.optimize import minimize
    from sklearn.linear_model import BayesianRidge

    draw = np.random.default_rng(n)
    x = draw.normal(size=(n, d)) * draw.random(d) * 3
    y = x @ draw.normal(size=d) + draw.normal(size=n)

    def density(logs):
        covariance = np.eye(n) * np.exp(-logs[1]) + x @ x.T * np.exp(-logs[0])
        return -stats.multivariate_normal.logpdf(y, np.zeros(n), covariance)

    found = log_evidence(x, y[:, None])
    options = {'xatol': 1e-8, 'fatol': 1e-10, 'maxiter': 2000}
    direct = min(
        minimize(density, start, method='Nelder-Mead', options=options).fun
        for start in ([0, 0], [2, -2], [-2, 3])
    )
    assert found == pytest.approx(-direct / n, abs=1e-7)
    flat = dict.fromkeys(('alpha_1', 'alpha_2', 'lambda_1', 'lambda_2'), 0.0)
    ridge = BayesianRidge(
        max_iter=5000, tol=1e-12, fit_intercept=False, compute_score=True, **flat
    ).fit(x, y)
    assert found == pytest.approx(ridge.scores_[-1] / n, abs=1e-7)
    assert log_evidence(7 * x, y[:, None]) == pytest.approx(found, abs=1e-9)  # of no unit


def test_evidence_of_classes_is_their_mean_and_odd_inputs_are_refused():
    draw = np.random.default_rng(0)
    x, labels = draw.normal(size=(30, 4)), draw.integers(0, 3, 30)
    hot = target_columns(labels_of('classification'), labels, 5)
    each = [log_evidence(x, hot[:, [c]]) for c in range(3)]
    assert log_evidence(x, hot) == pytest.approx(np.mean(each))  # two classes have no example
    for wrong in ((x, hot[:5]), (x * np.nan, hot), (x, 0 * hot), (0 * x, hot)):
        with pytest.raises(UserError):
            log_evidence(*wrong)


def values():
    """Features, further ones, and values that follow from features."""
    draw = np.random.default_rng(1)
    x, new = draw.normal(size=(60, 4)) * 5 + 2, draw.normal(size=(9, 4))
    return x, new, x @ draw.normal(size=4) + draw.normal(size=60)


def test_a_probe_of_values_is_scikit_learns():
    from sklearn.linear_model import Ridge

    x, new, y = values()
    mean, scale = x.mean(0), x.std(0)
    (found,) = probe_outputs(labels_of('regression'), x, y, 1, [new])
    for place, c in enumerate(PATH):
        known = Ridge(alpha=1 / c).fit((x - mean) / scale, y).predict((new - mean) / scale)
        assert found[place, :, 0] == pytest.approx(known, abs=1e-8)
    with pytest.raises(UserError, match='a label for each example'):
        probe_outputs(labels_of('masked_tokens'), x, y, 1, [new])


@pytest.mark.slow
def test_probes_of_several_labels_are_scikit_learns():
    from sklearn.linear_model import LogisticRegression

    x, new, y = values()
    mean, scale = x.mean(0), x.std(0)
    hot = np.stack([y > 0, y > 5], axis=1).astype(np.int64)
    (found,) = probe_outputs(labels_of('multilabel'), x, hot, 2, [new])
    assert found.shape == (len(PATH), 9, 2)
    place = PATH.index(1.0)
    for c in range(2):
        # Two columns under one penalty are one column under half of it.
        known = LogisticRegression(C=2.0, max_iter=2000).fit((x - mean) / scale, hot[:, c])
        expected = known.decision_function((new - mean) / scale)
        assert found[place, :, c] == pytest.approx(expected, abs=2e-2)


def _ratios(draw, n, chance, common, networks):
    """Right and wrong of networks that err together: none is better than another."""
    shared, found = draw.random(n), {}
    for k in range(networks):
        own = np.where(draw.random(n) < common, shared, draw.random(n))
        found[str(k)] = Ratio(share('accuracy'), (own < chance).astype(float), np.ones(n))
    return found


@pytest.mark.parametrize(('n', 'chance', 'common'), [(60, 0.9, 0.6), (200, 0.7, 0.4)])
def test_of_equal_networks_all_intervals_hold_in_95_of_100(n, chance, common):
    draw, missed, times = np.random.default_rng(3), 0, 60
    for _ in range(times):
        found = differences_to(_ratios(draw, n, chance, common, 4), '0', margin=0.0)
        missed += any(one.low > 0 or one.high < 0 for one in found.values())
    assert stats.binomtest(missed, times, 0.05, 'greater').pvalue > 0.01


def test_differences_are_of_units_and_never_certain_without_one():
    right = np.ones(40)
    ratios = {name: Ratio(share('accuracy'), right, np.ones(40)) for name in 'ab'}
    same = differences_to(ratios, 'a', margin=0.2)['b']
    assert same.difference == 0 and same.low < -0.01 and same.verdict == 'equivalent'
    assert same.p == 1.0
    draw = np.random.default_rng(0)
    losses = draw.gamma(2.0, size=(2, 300))
    errors = {n: Ratio(error('mse'), x, np.ones(300)) for n, x in zip('ab', losses, strict=True)}
    found = differences_to(errors, 'a', margin=0.0)['b']
    known = stats.ttest_rel(losses[1], losses[0]).confidence_interval()
    assert (found.low, found.high) == pytest.approx((known.low, known.high), rel=0.03)
    groups = np.repeat(np.arange(30), 10)
    copied = {n: dataclasses.replace(r, above=r.above[::10].repeat(10)) for n, r in errors.items()}
    few = {n: Ratio(r.metric, r.above[::10], np.ones(30)) for n, r in errors.items()}
    wide = differences_to(copied, 'a', margin=0.0, groups=groups)['b']
    assert wide.low == pytest.approx(differences_to(few, 'a', margin=0.0)['b'].low)
    one = {n: r.of(np.arange(1)) for n, r in errors.items()}
    assert differences_to(one, 'a', margin=0.0)['b'].low == -np.inf


def test_licences_are_those_of_cards_files_and_where_a_network_began(tmp_path):
    assert licence_of('glyphs') == 'apache-2.0' and licence_of('nothing there') == 'not stated'
    (tmp_path / 'n').mkdir()
    made = {'format': 'ftjax', 'provenance': {'init': 'random:glyphs'}}
    (tmp_path / 'n' / 'config.json').write_text(json.dumps(made))
    assert licence_of(str(tmp_path / 'n')) == 'apache-2.0 (of glyphs)'
    (tmp_path / 'n' / 'LICENSE').write_text('Copyright X\n\nMIT  License\n')
    assert licence_of(str(tmp_path / 'n')) == 'mit'
    card = tmp_path / 'n' / 'README.md'
    for header, said in (
        ('license: cc-by-nc-4.0', 'cc-by-nc-4.0'),
        ('license:\n- mit\n- bsd-3-clause\ntags: [x]', 'mit, bsd-3-clause'),
        ('license: other\nlicense_name: llama3', 'llama3'),
        ('license: "<b>\x1b[2J"', 'b, 2J'),
    ):
        card.write_text(f'---\ntags: []\n{header}\n---\n# A\nlicense: gpl\n')
        assert licence_of(str(tmp_path / 'n')) == said


def test_parity_is_of_the_family_and_of_the_names_where_they_are_known(repository):
    rows = json.loads((repository / 'results' / 'parity' / 'table.json').read_text())
    network = build('vit', {'image_size': 8, 'patch_size': 4, 'width': 8, 'depth': 1, 'heads': 2})
    whole, timm = parity_of(network, 'ftjax', rows), parity_of(network, 'vit (timm)', rows)
    assert whole['family'] == 'ViT' and len(whole['sources']) > 1
    assert timm['sources'] == ['timm'] and timm['stage_error'] <= whole['stage_error'] < 1e-5
    cifar = build('resnet_gn_cifar', {'num_classes': 2})
    assert parity_of(cifar, '', rows) is None  # not ResNet's


@pytest.fixture(scope='module')
def inits(tmp_path_factory):
    """Two small networks with random weights."""
    folder, made = tmp_path_factory.mktemp('networks'), []
    for depth, name in ((1, 'one'), (2, 'two')):
        options = {'image_size': 8, 'patch_size': 4, 'width': 8, 'heads': 2, 'num_classes': 3}
        network = build('vit', {**options, 'depth': depth})
        shape = standard_preprocessing(network)
        path = folder / f'<b>{name}'
        made.append(str(save_own(path, network, random_variables(network, depth), shape)))
    return made


VALUES = {'init': 'no such network', 'data': {'eval_batch_size': 16, 'source': 'in Python'}}


def splits(task='classification'):
    """Images whose brightness is their class, or their value."""
    draw, parts = np.random.default_rng(0), []
    for count in (48, 16, 32):
        labels = draw.integers(0, 3, count)
        inputs = (60 * labels + draw.integers(0, 60, (count, 8, 8, 3)).T).T.astype(np.uint8)
        given = {'labels': labels, 'class_names': ('a', '$b|<i>', 'c')}
        if task == 'regression':
            given = {'labels': labels + draw.random(count), 'class_names': ()}
        if task == 'multilabel':
            given['labels'] = np.stack([labels == 0, labels > 0, labels > 1], 1).astype(int)
        parts.append(Dataset(name='d', kind='image', inputs=inputs, task=task, **given))
    return Splits(train=parts[0], val=parts[1], test=parts[2])


@pytest.mark.slow
@pytest.mark.parametrize('task', ['classification', 'regression', 'multilabel'])
def test_networks_are_ranked_by_validation_whatever_the_labels(task, inits, monkeypatch):
    monkeypatch.setattr(network_facts, 'CALLS', Calls(1, 0.0))
    data = splits(task)
    values = {**VALUES, 'data': {**VALUES['data'], 'task': task}}
    check_networks(values, inits, data)
    found = compare_networks(values, inits, data, say=lambda _: None, progress=False)
    assert {row['init'] for row in found['networks']} == set(inits)
    first, second = found['networks']
    sign = 1 if found['higher_is_better'] else -1
    assert sign * first['validation'] >= sign * second['validation']
    assert second['difference']['estimate'] == pytest.approx(second['test'] - first['test'])
    assert first['parameters'] != second['parameters'] and first['p50_ms'] > 0
    page = network_page(found, data=['d'], command='x', provenance={'made': '<u>'})
    assert '<b>' not in page and '<u>' not in page and '\x1b' not in network_text(found)
    assert found['choice'] in answer_sentences(found)[0]


def test_what_cannot_be_compared_is_refused_before_anything_is_computed():
    data, inits = splits(), ['glyphs', 'data:other']
    for wrong, said in (
        (inits[:1], 'two or more'),
        ([inits[0], inits[0]], 'two or more'),
        ([*inits, inits[0]], 'twice'),
        ([inits[0], 'glyps'], "did you mean 'glyphs'"),
        ([inits[0], ''], 'two or more'),
    ):
        with pytest.raises(UserError, match=said):
            check_networks(VALUES, wrong, data)
    with pytest.raises(UserError, match='val_fraction'):
        check_networks(VALUES, inits, dataclasses.replace(data, val=data.val.take([])))


@pytest.mark.slow
def test_a_network_that_does_not_take_the_data_is_refused():
    with pytest.raises(UserError, match='takes texts'):
        check_networks(VALUES, ['docstrings', 'glyphs'], splits())


def test_the_table_is_text_of_names_from_elsewhere():
    row = {
        'init': 'a\x1b[2J<b>',
        'validation': 0.9,
        'test': 0.875,
        'interval': [0.8, 0.93],
        'logme': -0.5,
        'parameters': 1200,
        'flops': None,
        'p50_ms': 2.0,
        'examples_per_second': 500.0,
        'licence': '=x|<i>',
        'parity': None,
    }
    worse = {'estimate': -0.1, 'low': None, 'high': None, 'verdict': 'undecided', 'p': None}
    found = {
        'networks': [row, {**row, 'init': 'b', 'logme': 1.0, 'difference': worse}],
        'metric': 'accuracy',
        'higher_is_better': True,
        'examples': {'test': 40},
    }
    text = network_text(found)
    assert '\x1b' not in text and '87.5 [80.0, 93.0]' in text and '−10.0 –' in text
    first, second, third = answer_sentences(found)
    assert 'accuracy is 87.5 % [80.0, 93.0], 40 examples' in first
    assert 'b is not told apart' in second and 'ranks b first' in third
