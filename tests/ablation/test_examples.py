"""Comparisons example by example: stored whole, split by source as simulated, against scipy."""

import numpy as np
import pytest
from scipy import stats

from ftjax.ablation.grid.rows import check_row
from ftjax.ablation.report.tables import table_markdown
from ftjax.ablation.statistics.paired_examples import uncertainty
from ftjax.ablation.summary.summary import summarise
from ftjax.errors import UserError
from ftjax.evaluation.example_scores import ExampleScores, unpacked
from ftjax.evaluation.mcnemar import mcnemar
from ftjax.tasks import evaluate


@pytest.mark.parametrize('count', [1, 7, 8, 9, 1000])
def test_scores_come_back_and_are_small(count):
    rng = np.random.default_rng(0)
    right, losses = rng.random(count) < 0.9, rng.random(count)
    for values in (right, losses):
        packed = ExampleScores(metric='accuracy', values=values).packed()
        np.testing.assert_allclose(unpacked(packed).values, values, rtol=1e-6)
        assert unpacked(packed).values.dtype == values.dtype
    assert len(ExampleScores(metric='accuracy', values=right).packed()['packed']) <= count / 5 + 30


@pytest.mark.parametrize(
    'change',
    [{'n': 10**9}, {'n': 2}, {'n': -1}, {'packed': '%'}, {'packed': 'AAAA'}, {'kind': 'x'}],
)
def test_damaged_scores_are_refused(change):
    good = ExampleScores(metric='accuracy', values=np.ones(30, bool)).packed()
    row = {'arm': 'a', 'seed': 0, 'status': 'ok', 'rate': None, 'val': {}, 'test': {}}
    check_row({**row, 'examples': good}, 'line 1')
    with pytest.raises(UserError, match='scores of examples'):
        check_row({**row, 'examples': {**good, **change}}, 'line 1')


def test_evaluations_hold_scores_whose_mean_is_the_metric():
    rng = np.random.default_rng(0)
    made = {
        'accuracy': evaluate(rng.normal(size=(40, 3)), rng.integers(0, 3, 40)),
        'mse': evaluate(rng.normal(size=40), rng.normal(size=40), task='regression'),
        'exact_match': evaluate(
            rng.normal(size=(40, 2)), rng.integers(0, 2, (40, 2)), task='multilabel'
        ),
    }
    for metric, metrics in made.items():
        scores = unpacked(metrics['examples'])
        assert scores.metric == metric and len(scores.values) == 40
        assert scores.values.mean() == pytest.approx(metrics[metric], rel=1e-6)
        assert scores.agree_with(metrics) and scores.agree_with({})
        for wrong in ({metric: metrics[metric] + 0.01}, {metric: None}, {**metrics, 'n': 39}):
            assert not scores.agree_with(wrong)


def simulated(rng, seeds, examples, sd_seed, sd_example, sd_rest):
    seed, example = rng.normal(0, sd_seed, (seeds, 1)), rng.normal(0, sd_example, examples)
    return seed + example + rng.normal(0, sd_rest, (seeds, examples))


def test_the_parts_are_those_of_a_crossed_simulation():
    rng = np.random.default_rng(0)
    seeds, examples, sds = 6, 50, (0.3, 1.0, 2.0)
    tables = [simulated(rng, seeds, examples, *sds) for _ in range(400)]
    found = [uncertainty(one, np.zeros_like(one), fixed=True) for one in tables]
    of_seed, of_example, of_rest = (sd**2 for sd in sds)
    rest = of_rest / (seeds * examples)
    expected = {
        'seeds': of_seed / seeds + rest,
        'examples': of_example / examples + rest,
        'both': of_seed / seeds + of_example / examples + rest,
    }
    for name, variance in expected.items():
        seen = np.mean([getattr(one, name) ** 2 for one in found])
        assert seen == pytest.approx(variance, rel=0.06)
    # `both` is what the mean does when everything is drawn anew.
    assert np.var([one.difference for one in found]) == pytest.approx(expected['both'], rel=0.2)


def test_the_parts_of_seeds_with_examples_of_their_own():
    rng = np.random.default_rng(0)
    pairs = [[rng.normal(rng.normal(0, 0.2), 1.5, 60) for _ in range(5)] for _ in range(400)]
    found = [uncertainty(one, [np.zeros(60)] * 5, fixed=False) for one in pairs]
    assert np.mean([one.examples**2 for one in found]) == pytest.approx(1.5**2 / 300, rel=0.05)
    both = 0.2**2 / 5 + 1.5**2 / 300
    assert np.mean([one.both**2 for one in found]) == pytest.approx(both, rel=0.1)
    with pytest.raises(UserError, match='two seeds'):
        uncertainty([np.ones(5)], [np.ones(5)], fixed=True)


@pytest.mark.parametrize('fixed', [True, False])
def test_both_is_no_less_than_its_parts(fixed):
    # Every seed has half of its examples right, so that seeds do not spread at all.
    one = [np.tile([0.0, 1.0], 30)] * 3
    found = uncertainty(one, [np.zeros(60)] * 3, fixed=fixed)
    assert found.seeds == 0 < found.examples <= found.both


def test_folds_widen_what_other_seeds_do():
    rng = np.random.default_rng(0)
    pair = list(rng.normal(size=(10, 40))), [np.zeros(40)] * 10
    for fixed in (True, False):
        alone, folded = (uncertainty(*pair, fixed=fixed, overlap=o) for o in (0.0, 0.25))
        assert folded.examples == alone.examples and folded.both > alone.both
    ratio = uncertainty(*pair, fixed=True, overlap=0.25).seeds / alone_of(pair)
    assert ratio == pytest.approx(np.sqrt(1 + 0.25 * 10))


def alone_of(pair):
    return uncertainty(*pair, fixed=True).seeds


def test_mcnemar_is_the_exact_binomial_test():
    rng = np.random.default_rng(0)
    one, other = rng.random(200) < 0.9, rng.random(200) < 0.8
    found = mcnemar(one, other)
    assert found.first == (one & ~other).sum() and found.second == (other & ~one).sum()
    assert found.p == stats.binomtest(found.first, found.first + found.second).pvalue
    assert mcnemar(one, one).p == 1.0
    with pytest.raises(UserError, match='200 examples and 5'):
        mcnemar(one, other[:5])


@pytest.mark.parametrize('fixed', [True, False])
def test_a_report_says_where_the_uncertainty_comes_from(fixed):
    rng = np.random.default_rng(0)
    rows = []
    for arm, level in {'full': 0.9, 'head': 0.7}.items():
        for seed in range(3):
            right = rng.random(100) < level
            value = {'accuracy': float(right.mean())}
            examples = ExampleScores(metric='accuracy', values=right).packed()
            row = {'arm': arm, 'rate': None, 'seed': seed, 'status': 'ok', 'val': value}
            print_of_test = 'same' if fixed else f'seed {seed}'
            row |= {'test': value, 'examples': examples, 'test_fingerprint': print_of_test}
            rows.append(row)
    summary = summarise(rows, reference='full')
    sources = summary['tasks'][0]['sources']
    (head,) = sources['arms']
    difference = summary['tasks'][0]['arms'][1]['difference']['interval']['estimate']
    assert sources['fixed'] is fixed and head['difference'] == pytest.approx(difference)
    expected = np.sqrt(0.9 * 0.1 + 0.7 * 0.3) / np.sqrt(300)
    assert head['examples'] == pytest.approx(expected, rel=0.3)
    assert head['only_reference'] > head['only_arm'] > 0
    text = table_markdown(summary)
    words = 'the same 100 test examples' if fixed else 'its own test split of 100 examples'
    assert words in text and '± other test examples' in text
    # Of a mean over members, say, the scores of one member tell nothing.
    for row in rows[3:]:
        row['test'] = {'accuracy': row['test']['accuracy'] - 0.02}
    assert 'sources' not in summarise(rows, reference='full')['tasks'][0]
    for row in rows:
        del row['examples']
    assert 'sources' not in summarise(rows, reference='full')['tasks'][0]
