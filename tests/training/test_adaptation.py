"""Adaptation to unlabelled inputs: what moves, what is seen, and that labels are not."""

import dataclasses
import types

import jax
import numpy as np
import pytest
from PIL import Image
from tiny_runs import RESNET, VIT, initial, noise, shades

from ftjax.config import read_config
from ftjax.data import DataSettings, Splits, load_data
from ftjax.data.joined import joined
from ftjax.data.load import load_test
from ftjax.data.sources.registry import read_source
from ftjax.data.unlabelled_split import read_unlabelled
from ftjax.errors import UserError
from ftjax.evaluation.predict import predict
from ftjax.evaluation.predictions import gather, softmax
from ftjax.freezing.plan.plan import make_plan
from ftjax.freezing.run_length import RunLength
from ftjax.io.identity.identity_changes import differences
from ftjax.leaves import flatten
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.optim.schedule import ScheduleSettings, plan_factor
from ftjax.registry import parse
from ftjax.runs.adapt import adapted
from ftjax.runs.before_training import rate_range
from ftjax.runs.identity import data_identity
from ftjax.runs.run import train
from ftjax.training.adaptation.in_words import adaptation_in_words
from ftjax.training.adaptation.methods import Trained, check_adaptation
from ftjax.training.loop.batch_norm_recalibration import recomputed
from ftjax.training.loop.fit import fit
from ftjax.training.loop.validation import check_validation
from ftjax.training.settings import TrainSettings
from ftjax.training.step.phase_state import PhaseState
from ftjax.training.step.run_spec import RunSpec
from ftjax.training.sweeps.weight_averaging import validated

DARK = shades('dark', 24)
DARK = dataclasses.replace(DARK, inputs=(DARK.inputs * 0.5).astype(np.uint8))


def trained(net=RESNET, **changes):
    data = Splits(train=shades('train', 24), val=shades('val', 6), test=shades('test', 6))
    variables = initial(net)
    spec = RunSpec(
        net,
        variables,
        make_plan('full', net, variables),
        data,
        optimizer=OptimizerSettings(name='sgd', learning_rate=0.05),
        settings=TrainSettings(steps=4, keep='last'),
        batch_size=8,
        **changes,
    )
    result = fit(spec, progress=False)
    return Trained(spec, result.variables, DARK, lambda own: fit(own, progress=False))


@pytest.fixture(scope='module')
def run():
    return trained()


def moved(before, after):
    """Paths of leaves that are not bitwise the same."""
    from flax.traverse_util import flatten_dict

    old, new = (flatten_dict(dict(tree), sep='/') for tree in (before, after))
    return {path for path in old if not np.array_equal(old[path], new[path])}


def outputs(run, variables):
    spec = run.spec
    return gather(predict(spec.network, variables, spec.batches_of(run.unlabelled))).outputs


def entropy(logits):
    p = softmax(logits)
    return -(p * np.log(p)).sum(axis=1).mean()


def test_statistics_are_those_of_the_unlabelled_inputs(run):
    after, seen = parse('adaptation', 'bn_adapt')(run)
    assert seen == {'seen': 24} and not moved(run.variables['params'], after['params'])
    stream = run.on(DARK).stream_of(run.spec.seed)
    batches = [stream.batch(n)['inputs'] for n in range(3)]
    want = recomputed(RESNET, run.variables, batches)
    assert not moved(want['batch_stats'], after['batch_stats'])
    stem = after['batch_stats']['stem']['norm']['mean']
    assert not np.allclose(stem, run.variables['batch_stats']['stem']['norm']['mean'])


def test_what_it_moved_after_the_training_is_told(run):
    fitted = dataclasses.make_dataclass('Fitted', ['variables', 'verification', 'validation'])
    val = run.spec.splits.val
    data = Splits(train=DARK, val=val, test=DARK.take([]), unlabelled=DARK)
    config = types.SimpleNamespace(train=TrainSettings(adapt='bn_adapt'))
    prepared = types.SimpleNamespace(data=data, config=config)
    before = fitted(run.variables, 'of the training', {'loss': -1.0})
    result, facts = adapted(prepared, run.spec, before)
    assert set(facts['moved']) == moved(run.variables, result.variables)
    assert 'batch_stats/stem/norm/mean' in facts['moved']
    assert result.verification == 'of the training'
    assert facts['validation_before'] == {'loss': -1.0}
    assert result.validation == validated(run.spec, result.variables)
    assert adaptation_in_words({'adapted': facts}).startswith('after training, bn_adapt moved')
    assert 'not recorded' in adaptation_in_words({'adapted': {'method': 'tent'}})
    assert adaptation_in_words({}) == ''


@pytest.mark.slow
def test_tent_moves_norms_alone_and_lowers_the_entropy(run):
    after, seen = parse('adaptation', 'tent:8,0.01')(run)
    changed = moved(run.variables['params'], after['params'])
    assert changed and all('norm' in path for path in changed)
    only_statistics, _ = parse('adaptation', 'bn_adapt')(run)
    assert entropy(outputs(run, after)) < entropy(outputs(run, only_statistics))
    assert seen == {'seen': 24, 'steps': 24}


@pytest.mark.slow
def test_the_labels_of_unlabelled_examples_are_not_looked_at(run):
    lying = dataclasses.replace(run, unlabelled=dataclasses.replace(DARK, labels=DARK.labels[::-1]))
    for name in ('bn_adapt', 'tent:1,0.01', 'pseudo_labels:0'):
        one, other = (parse('adaptation', name)(each)[0] for each in (run, lying))
        assert not moved(one['params'], other['params']), name


def test_pseudo_labels_are_confident_predictions(run):
    probabilities = softmax(outputs(run, run.variables))
    sure = probabilities.max(axis=1)
    middle = float(np.median(sure))
    specs = []
    kept = dataclasses.replace(run, fit=lambda own: specs.append(own) or fit(own, progress=False))
    _, seen = parse('adaptation', f'pseudo_labels:{middle}')(kept)
    assert seen['used'] == (sure >= middle).sum() == sum(seen['used_by_class'].values())
    both = specs[0].splits.train
    assert len(both) == 24 + seen['used']
    want = probabilities.argmax(axis=1)[sure >= middle]
    np.testing.assert_array_equal(both.labels[24:], want)
    same, seen = parse('adaptation', 'pseudo_labels:1')(run)
    assert seen['used'] == 0 and same is run.variables


def test_pseudo_labels_train_on_what_the_run_made(run):
    """Nothing is re-initialised or estimated again, and nothing asks for a validation."""
    specs = []

    def seen(own):
        specs.append(own)
        return types.SimpleNamespace(variables=own.variables, steps=1)

    freeze = {'strategy': 'reinit_top:1', 'norm': 'recompute'}
    spec = dataclasses.replace(
        run.spec,
        plan=make_plan(freeze, RESNET, run.variables),
        optimizer=OptimizerSettings(accumulate=16),
        settings=TrainSettings(steps=4, threshold='f1'),
        batch_size=64,
    )
    assert spec.plan.recompute and spec.plan.at(0).reinit
    parse('adaptation', 'pseudo_labels:0')(dataclasses.replace(run, spec=spec, fit=seen))
    own = specs[0]
    assert not own.plan.recompute and not own.plan.at(0).reinit
    assert own.plan.trained == spec.plan.trained
    check_validation(own.settings, own.plan, own.splits.val)
    own.sharding.check((), own.batch_size, own.optimizer.accumulate)
    assert len(own.splits.train) == own.batch_size == 48


def test_regularisers_pull_to_the_pretrained_weights_all_along():
    variables = initial(RESNET)
    plan = make_plan('head+l2_sp:0.1', RESNET, variables, head_is_new=False)
    data = Splits(train=DARK, val=DARK, test=DARK)
    spec = RunSpec(RESNET, variables, plan, data, batch_size=4)
    ended = {**variables, 'params': jax.tree.map(lambda x: x + 1.0, variables['params'])}
    run = Trained(spec, ended, DARK, len)
    on = run.on(DARK)
    for own in (on, dataclasses.replace(run, spec=on).on(DARK)):
        phase_state = PhaseState(own)
        phase_state.enter(0)
        assert phase_state.frozen.reference
        for path, leaf in phase_state.frozen.reference.items():
            assert np.array_equal(leaf, flatten(variables['params'])[path])


def test_a_range_test_needs_no_threshold_and_adapts_nothing(run, monkeypatch):
    asked = []

    def prepared(config, data, opened):
        assert opened is None
        asked.append(config.train)
        check_validation(config.train, run.spec.plan, data.val)
        check_adaptation(config.train, data, run.spec.plan)
        raise UserError('asked for')

    monkeypatch.setattr(rate_range, 'prepare', prepared)
    config = read_config({'train': {'threshold': 'f1', 'adapt': 'tent'}})
    given = {'config': config, 'data': run.spec.splits, 'plan': run.spec.plan, 'opened': None}
    with pytest.raises(UserError, match='asked for'):
        rate_range.rate_range(types.SimpleNamespace(**given), steps=10)
    assert asked[0].steps == 10


def test_a_range_test_rises_once_whatever_restarts(monkeypatch):
    variables = initial(RESNET)
    plan = make_plan('lp_ft', RESNET, variables, run_length=RunLength(20, 5))
    data = Splits(train=DARK, val=DARK, test=DARK)
    specs = []

    def fitted(spec, progress):
        del progress
        specs.append(spec)
        raise UserError('seen')

    monkeypatch.setattr(rate_range, 'fit', fitted)
    monkeypatch.setattr(
        rate_range, 'run_spec', lambda run: RunSpec(RESNET, variables, run.plan, data)
    )
    monkeypatch.setattr(rate_range, 'prepare', lambda *_: types.SimpleNamespace(plan=plan))
    given = {'config': read_config({}), 'data': data, 'plan': plan, 'opened': None}
    with pytest.raises(UserError, match='seen'):
        rate_range.rate_range(types.SimpleNamespace(**given), steps=20)
    rises = ScheduleSettings(name='range_test:1e-6', warmup=0.0)
    factors = [plan_factor(specs[0].plan, rises, step, 20) for step in range(20)]
    assert factors == sorted(factors) and factors[0] < 1e-5 and factors[-1] == pytest.approx(1.0)
    assert specs[0].plan.boundaries == plan.boundaries and len(plan.phases) == 2


def test_the_entropy_loss_is_the_closed_form():
    logits = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    got = parse('loss', 'entropy')(logits, {'labels': np.zeros(5, np.int32)})
    p = softmax(logits)
    np.testing.assert_allclose(got, -(p * np.log(p)).sum(1), rtol=1e-5)


@pytest.mark.slow
def test_a_network_without_batch_norm_is_told_apart():
    run = trained(VIT)
    with pytest.raises(UserError, match='needs a network with BatchNorm'):
        parse('adaptation', 'bn_adapt')(run)
    after, _ = parse('adaptation', 'tent:2,0.01')(run)
    assert all('norm' in path for path in moved(run.variables['params'], after['params']))


REFUSED = {
    'bn_adapt': (VIT, 'full', {}, 'needs a network with BatchNorm'),
    'tent': (VIT, 'full', {'roles': {'norm': frozenset()}}, 'needs norms before the head'),
    'pseudo_labels': (VIT, 'lp_ft', {}, 'changes what trains on the way'),
    'pseudo_labels:0.7': (VIT, 'wise_ft', {}, 'averages weights by validation'),
    'pseudo_labels:0.5': (VIT, 'full', {}, 'differ: inputs of shape'),
}


@pytest.mark.parametrize('name', REFUSED)
def test_what_cannot_follow_the_training_is_refused_before_it(name):
    net, freeze, changes, words = REFUSED[name]
    plan = make_plan(freeze, net, initial(net), run_length=RunLength(12, 3))
    plan = dataclasses.replace(plan, net=dataclasses.replace(plan.net, **changes))
    small = dataclasses.replace(DARK, inputs=DARK.inputs[:, :4, :4])
    data = Splits(train=DARK, val=DARK.take([]), test=DARK.take([]), unlabelled=small)
    with pytest.raises(UserError, match=words):
        check_adaptation(TrainSettings(adapt=name), data, plan)


def test_examples_beside_the_whole_batches_are_not_counted_as_seen(run):
    some = dataclasses.replace(run, unlabelled=DARK.take(range(21)))
    assert parse('adaptation', 'bn_adapt')(some)[1] == {'seen': 16}


def pictures(folder, names, count, seed=0):
    rng = np.random.default_rng(seed)
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f'{number}.png')


@pytest.mark.slow
def test_a_run_says_what_it_saw(tmp_path):
    pictures(tmp_path / 'task', ('a', 'b', 'c'), 10)
    pictures(tmp_path / 'target', ('.',), 12, seed=1)
    config = read_config(
        {
            'init': '',
            'model': {'name': 'resnet_bn_cifar', 'depth': 8, 'width': 2, 'image_size': 8},
            'data': {
                'source': f'folder:{tmp_path / "task"}',
                'unlabelled': f'folder:{tmp_path / "target"}',
                'batch_size': 6,
            },
            'train': {'steps': 3, 'adapt': 'tent:1'},
        }
    )
    from ftjax.runs.prepare import prepare

    prepared = prepare(config)
    assert len(prepared.data.unlabelled) == 12
    _, result = train(prepared, progress=False)
    facts = result['adapted']
    assert facts['seen'] == 12 and facts['test_inputs_seen'] == 0
    assert any(path.startswith('params/') for path in facts['moved'])
    assert facts['metrics_before']['n'] == result['metrics']['n'] == 6
    # Test examples among the unlabelled ones are counted.
    leaking = dataclasses.replace(prepared.data, unlabelled=prepared.data.test)
    _, result = train(prepare(config, leaking), progress=False)
    assert result['adapted']['test_inputs_seen'] == 6
    without = dataclasses.replace(prepared.data, unlabelled=None)
    with pytest.raises(UserError, match='needs unlabelled examples'):
        prepare(config, without)


def test_other_unlabelled_examples_are_another_run(run):
    whole = Splits(train=noise('train', 3), val=noise('val', 3), test=noise('test', 3))
    one, other = (
        data_identity(dataclasses.replace(whole, unlabelled=noise('target', count)))
        for count in (4, 5)
    )
    assert differences({'data': one}, {'data': other}) == {
        'data': ['the set of unlabelled examples']
    }
    assert not differences({'data': data_identity(whole)}, {'data': one})


def test_a_folder_with_a_test_split_alone_is_scored_whole(tmp_path):
    pictures(tmp_path / 'test', ('a', 'b'), 7)
    settings = DataSettings(source=f'folder:{tmp_path}')
    parts = read_source(settings)
    assert list(parts.given) == ['test'] and parts.test.class_names == ('a', 'b')
    assert len(load_test(settings)) == 14
    with pytest.raises(UserError, match='has test but no train folder to train on'):
        load_data(settings)


def test_sources_are_read_without_their_labels(tmp_path):
    train_split = load_data(DataSettings(source='digits')).train
    found = read_unlabelled(
        DataSettings(source='digits', unlabelled='digits:scattered'), train_split
    )
    assert len(found) == 1797 and not found.labels.any()
    with pytest.raises(UserError, match='differ: inputs of shape'):
        joined(
            noise('train', 3),
            dataclasses.replace(noise('b', 3), inputs=np.zeros((3, 4, 4, 3), np.uint8)),
        )
    with pytest.raises(UserError, match='holds text, and'):
        read_unlabelled(DataSettings(unlabelled='docstrings'), train_split)
    assert len(joined(noise('train', 3), noise('b', 2))) == 5
