"""What to freeze: arms from the network, the recommendation, its page."""

import json
import re

import numpy as np
import pytest

from ftjax.ablation.advice.advice_page import advice_page
from ftjax.ablation.advice.arms import ablation_of, candidate_arms, described_arms
from ftjax.ablation.advice.recommendation import is_as_good, recommend
from ftjax.ablation.settings import read_ablation
from ftjax.ablation.summary.summary import summarise
from ftjax.config import read_config
from ftjax.data import load_data
from ftjax.errors import UserError
from ftjax.runs.network_opening import open_network

VALUES = {
    'init': 'random:glyphs',
    'data': {'source': 'glyphs', 'examples_per_class': 2, 'val_per_class': 2, 'batch_size': 10},
    'optimizer': {'learning_rate': 1e-3},
}
COSTS = {'full': (4.0, 400, 80), 'last:2': (2.0, 300, 40), 'head': (1.0, 200, 8)}


@pytest.fixture(scope='module')
def opened():
    config = read_config(VALUES)
    data = load_data(config.data)
    return data, open_network(config, data)


def rows_of(means, seeds=5, noise=0.01, rates=(1e-4, 1e-3, 1e-2), best=1e-3, seed=0):
    """Rows of arms with these mean accuracies, their best rate in the middle."""
    rng = np.random.default_rng(seed)
    rows = []
    for arm, mean in means.items():
        for draw in range(seeds):
            score = mean + rng.normal(0, noise)
            for rate in rates:
                value = score - (0 if rate == best else 0.1)
                step, memory, optimizer = COSTS[arm]
                rows.append(
                    {
                        'arm': arm,
                        'rate': rate,
                        'seed': draw,
                        'status': 'ok',
                        'val': {'accuracy': value},
                        'test': {'accuracy': value},
                        'step_seconds_median': step,
                        'step_bytes': memory,
                        'optimizer_bytes': optimizer,
                        'wall_seconds': 10 * step,
                        'params_trainable': optimizer,
                        'params_total': 80,
                    }
                )
    return rows


def summary_of(means, **options):
    margin = options.pop('margin', 0.02)
    return summarise(rows_of(means, **options), reference='full', margin=margin)


def test_the_arms_follow_from_the_network(opened):
    data, network = opened
    arms, left_out = candidate_arms(VALUES, data, network)
    names = [arm.strategy for arm in arms]
    blocks = len(network.network.blocks)
    assert {'head', 'full', 'last:1', 'norm', 'bitfit', 'first:1'} <= set(names)
    assert f'last:{blocks // 2}' in names and f'last:{blocks}' not in names
    assert [arm.backward for arm in arms] == sorted(arm.backward for arm in arms)
    full = next(arm for arm in arms if arm.strategy == 'full')
    assert full.share == 1.0 and full.rates[1] == 1e-3
    head = next(arm for arm in arms if arm.strategy == 'head')
    assert head.rates[1] == 1e-2 and head.optimizer_bytes < full.optimizer_bytes
    told = described_arms(arms, left_out)
    assert all(name in told for name in names)


def test_what_the_network_does_not_allow_is_left_out_with_the_reason():
    values = {**VALUES, 'init': '', 'model': {'name': 'resnet_gn_cifar', 'depth': 8}}
    config = read_config(values)
    data = load_data(config.data)
    arms, left_out = candidate_arms(values, data, open_network(config, data))
    assert 'full' in [arm.strategy for arm in arms]
    for strategy, why in left_out.items():
        assert strategy not in [arm.strategy for arm in arms] and why


def test_arms_that_train_the_same_are_one(opened):
    data, network = opened
    arms, _ = candidate_arms({**VALUES, 'freeze': 'head'}, data, network)
    trained = [(arm.trainable, arm.backward, arm.optimizer_bytes) for arm in arms]
    same = {'full', 'llrd:0.75'}  # alike but for their rates
    rest = [one for arm, one in zip(arms, trained, strict=True) if arm.strategy not in same]
    assert len(rest) == len(set(rest))


def test_the_race_of_the_arms_is_an_ablation(opened):
    data, network = opened
    arms, _ = candidate_arms(VALUES, data, network)
    config = read_config(VALUES)
    settings = read_ablation(ablation_of(config, arms, data, {}, '10 min'))
    assert settings.reference == 'full' and settings.budget == '10 min'
    assert {'pixels', 'probe'} <= set(settings.arms)
    given = {'seeds': (3, 4), 'margin': 0.05}
    own = read_ablation(ablation_of(config, arms, data, given, '9 runs'))
    assert own.seeds == (3, 4) and own.margin == 0.05
    # What the caller names goes before what the config says.
    given = {'budget': '1 h'}
    assert read_ablation(ablation_of(config, arms, data, given, '9 runs')).budget == '9 runs'
    with pytest.raises(UserError, match=r'config\.ablation\.tasks does not go with advice'):
        ablation_of(config, arms, data, {'tasks': {'one': {'data.seed': 1}}}, '9 runs')


OWN_ARMS = {'full': 'full', 'top': {'freeze': 'head'}, 'deep': 'last:1+llrd:0.5'}


def test_arms_of_the_config_begin_at_its_rate_or_at_that_of_their_strategy(opened):
    data, network = opened
    arms, _ = candidate_arms(VALUES, data, network)
    config = read_config(VALUES)
    settings = read_ablation(ablation_of(config, arms, data, {'arms': OWN_ARMS}, '9 runs'))
    middles = {arm: rates[1] for arm, rates in settings.grids.items()}
    assert middles == {'full': 1e-3, 'top': 1e-2, 'deep': 1e-3}
    assert settings.changes('top') == {'freeze': 'head'}
    own = {'arms': OWN_ARMS, 'rates': (0.5, 5.0)}
    settings = read_ablation(ablation_of(config, arms, data, own, '9 runs'))
    assert {*settings.grids.values()} == {(0.5, 5.0)}


@pytest.mark.parametrize(
    ('given', 'words'),
    [
        ({'equal': 'compute'}, "equal 'compute' does not go with advice"),
        ({'reference': 'probe'}, "reference 'probe' is a baseline"),
        ({'arms': {'mine': {'baseline': 'probe'}, **OWN_ARMS}, 'reference': ''}, 'is a baseline'),
    ],
)
def test_what_no_config_would_train_is_refused(opened, given, words):
    data, network = opened
    arms, _ = candidate_arms(VALUES, data, network)
    with pytest.raises(UserError, match=words):
        ablation_of(read_config(VALUES), arms, data, given, '9 runs')


def test_the_pixels_are_no_arm_beside_a_decision_threshold(opened):
    data, network = opened
    arms, _ = candidate_arms(VALUES, data, network)
    config = read_config({**VALUES, 'train': {'threshold': 'f1'}})
    found = ablation_of(config, arms, data, {}, '9 runs')['arms']
    assert 'probe' in found and 'pixels' not in found


def test_a_better_arm_is_recommended_and_the_cheapest_as_good_named():
    summary = summary_of({'full': 0.80, 'last:2': 0.90, 'head': 0.81}, noise=0.004)
    advice = recommend(summary)
    assert (advice.choice, advice.why, advice.as_good) == ('last:2', 'better', 'head')
    assert advice.rate == 1e-3
    assert 'which is better' in advice.sentences[0] and 'head' in advice.sentences[1]
    assert '0.5 of the time of a step' in advice.sentences[1]


def test_a_baseline_that_is_ahead_is_named():
    summary = summary_of({'full': 0.80, 'last:2': 0.70, 'head': 0.81}, noise=0.004)
    head = next(arm for arm in summary['tasks'][0]['arms'] if arm['arm'] == 'head')
    assert 'baseline' not in ' '.join(recommend(summary).sentences)
    head['rate'] = None  # as baselines have none
    assert (
        'The baseline head has a better mean than full: 80.7;' in recommend(summary).sentences[-1]
    )
    full = next(arm for arm in summary['tasks'][0]['arms'] if arm['arm'] == 'full')
    full['mean']['estimate'] = head['mean']['estimate'] - 1e-9  # they are printed alike
    head['difference']['interval']['estimate'] = 1e-9
    assert 'baseline' not in ' '.join(recommend(summary).sentences)


def test_one_seed_decides_nothing_and_the_advice_says_what_enough_would_take():
    summary = summary_of({'full': 0.80, 'last:2': 0.90, 'head': 0.81}, seeds=1)
    advice = recommend(summary)
    assert (advice.choice, advice.why, advice.as_good) == ('full', 'no verdict', 'full')
    assert 'Nothing is decided' in advice.sentences[0] and '1 finished run,' in advice.sentences[0]
    # Two more seeds of each: a run takes ten times the step.
    more = 2 * 10 * sum(COSTS[arm][0] for arm in ('full', 'last:2', 'head'))
    assert f'3 seeds of every arm would take about {more / 60:.3g} min more' in advice.sentences[1]


def test_without_a_better_arm_the_cheapest_as_good_one_is_recommended():
    summary = summary_of({'full': 0.80, 'last:2': 0.80, 'head': 0.795}, noise=0.001)
    advice = recommend(summary)
    assert (advice.choice, advice.why) == ('head', 'as good')
    assert 'at most 2.0 points worse' in advice.sentences[0]


def test_where_nothing_is_shown_all_is_trained_and_what_deciding_takes_is_said():
    summary = summary_of({'full': 0.80, 'last:2': 0.78, 'head': 0.60}, noise=0.04, seeds=3)
    advice = recommend(summary)
    assert (advice.choice, advice.why) == ('full', 'nothing cheaper')
    assert 'as good within 2.0 points' in advice.sentences[0]
    (one,) = [one for one in advice.undecided if one.arm == 'last:2']
    assert one.seeds is None or one.seconds == one.seeds * (40.0 + 20.0)


def test_an_arm_whose_best_rate_is_on_the_edge_is_not_recommended():
    summary = summary_of({'full': 0.80, 'last:2': 0.90, 'head': 0.90}, noise=0.004)
    (task,) = summary['tasks']
    for arm in task['arms']:
        if arm['arm'] == 'last:2':
            arm['rate_edge'] = 'high'
    advice = recommend(summary)
    assert advice.choice == 'head' and 'highest' in advice.left_out['last:2']


@pytest.mark.parametrize(
    ('low', 'high', 'higher_is_better', 'expected'),
    [
        (-0.019, 0.5, True, True),
        (-0.021, 0.5, True, False),
        (-0.5, 0.019, False, True),
        (-0.5, 0.021, False, False),
    ],
)
def test_as_good_means_no_loss_of_the_margin(low, high, higher_is_better, expected):
    arm = {'difference': {'interval': {'low': low, 'high': high}}}
    assert is_as_good(arm, 0.02, higher_is_better) is expected


def test_a_race_whose_reference_never_finished_gives_no_advice():
    rows = rows_of({'full': 0.8, 'head': 0.7})
    rows = [{**row, 'status': 'diverged'} if row['arm'] == 'full' else row for row in rows]
    advice = recommend(summarise(rows, reference='full'))
    assert advice.choice is None and 'nothing to compare' in advice.sentences[0]


def test_an_arm_that_never_finished_is_left_out_with_the_reason():
    rows = rows_of({'full': 0.8, 'last:2': 0.9, 'head': 0.7})
    rows = [{**row, 'status': 'diverged'} if row['arm'] == 'head' else row for row in rows]
    advice = recommend(summarise(rows, reference='full'))
    assert advice.choice == 'last:2' and advice.left_out == {'head': 'none of its runs finished'}


def test_advice_is_on_one_task():
    rows = [{**row, 'task': task} for task in 'ab' for row in rows_of({'full': 0.8, 'head': 0.7})]
    with pytest.raises(UserError, match='advice is given on one task'):
        recommend(summarise(rows, reference='full'))


def test_the_page_says_all_and_names_are_text():
    summary = summary_of({'full': 0.80, 'last:2': 0.90, 'head': 0.70}, noise=0.004)
    page = advice_page(
        recommend(summary),
        summary,
        data=('train 3 <script>',),
        command='python scripts/train.py --config=chosen.py',
        notes=('The arms raced.',),
        not_compared={'norm': 'no <norm> layers'},
        provenance={'versions': {'jax': '1'}},
    )
    assert '<script' not in page and 'no &lt;norm&gt; layers' in page
    for text in ('Train last:2', 'chosen.py', 'The arms raced.', 'share of full', 'data:image/svg'):
        assert text in page
    assert json.dumps(summary)
    titles = re.findall(r'<th scope="col">(.*?)</th>', page)
    assert len(titles) == 11
    assert not [title for title in titles if f'<tr><th scope="row">{title}</th><td>' not in page]
