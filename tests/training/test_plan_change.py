"""Going on under another plan: what moved stays, the rest is told, and only if it is asked for."""

import dataclasses
import json
import logging
import signal
import types

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from tiny_runs import RESNET as NET
from tiny_runs import VIT, initial, noise, splits

from ftjax.config import config_differences, read_config
from ftjax.distributed.interrupted import Interrupted
from ftjax.errors import UserError
from ftjax.evaluation.metric import LOG_LOSS, share
from ftjax.freezing import make_plan
from ftjax.freezing.data_driven_choice import Choice
from ftjax.freezing.plan.plan import as_settings
from ftjax.freezing.plan.verification import Verification
from ftjax.freezing.run_length import RunLength
from ftjax.freezing.strategies.adapters import with_adapters
from ftjax.io.files.atomic import read_json, to_jsonable, write_json
from ftjax.io.files.lock import run_lock
from ftjax.io.files.saved_step import restored
from ftjax.io.json.jsonl import read_jsonl
from ftjax.io.json.tree_json import pack, unpack
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.runs.prepare import prepare
from ftjax.runs.run import train
from ftjax.runs.run_folder import check_folder, start_folder
from ftjax.training.checkpoints.run_identity import FILE, PlanChange
from ftjax.training.checkpoints.training_state import restore, to_saved
from ftjax.training.loop.fit import fit
from ftjax.training.loop.fit_result import FitResult
from ftjax.training.loop.run_state import RunState
from ftjax.training.loop.validation import BestSoFar
from ftjax.training.settings import TrainSettings
from ftjax.training.step.phase_state import PhaseState
from ftjax.training.step.run_spec import RunSpec
from ftjax.training.sweeps import weight_averaging
from ftjax.training.sweeps.weight_averaging import fit_averaged

NO_CHANGE = PlanChange()
ADAM = OptimizerSettings(learning_rate=1e-2, weight_decay=0.1)


DATA = splits(noise, 12, 6, 6)
ACCURACY = share('accuracy')


@pytest.fixture(scope='module')
def variables():
    return initial(NET)


def run(variables, folder, freeze, steps, change=NO_CHANGE, **also):
    return fit(
        RunSpec(
            NET,
            variables,
            make_plan(freeze, NET, variables),
            DATA,
            optimizer=dataclasses.replace(ADAM, **also),
            settings=TrainSettings(steps=steps, keep='last', cache='off'),
            batch_size=6,
            eval_batch_size=6,
        ),
        workdir=folder,
        progress=False,
        plan_change=change,
    )


def test_a_run_with_a_strategy_beside_rules_goes_on_without_it(tmp_path):
    rules = {'rules': (('.*', 'all'),)}
    config = read_config({'freeze': rules})
    saved = config.to_json()
    saved['freeze']['strategy'] = 'ema'
    write_json(tmp_path / 'config.json', saved)
    prepared = types.SimpleNamespace(config=config, plan=types.SimpleNamespace(terms=()))
    assert check_folder(tmp_path, prepared).keys == ()


def test_a_phase_that_reinitialises_is_the_same_in_config_json():
    phase = {'until': None, 'freeze': 'full', 'reinit': ('head/.*',)}
    config = read_config({'freeze': {'phases': (phase,)}})
    read = read_config(json.loads(json.dumps(to_jsonable(config.to_json()))))
    assert config_differences(read, config) == []


def test_another_plan_is_refused_and_the_difference_told(variables, tmp_path, caplog):
    run(variables, tmp_path, 'last:1', 2)
    with pytest.raises(UserError, match='--allow-plan-change goes on from step 2') as caught:
        run(variables, tmp_path, 'last:2', 4)
    assert '\n' not in str(caught.value) and ' leaves kept, ' in str(caught.value)
    assert 'initialised: trainable/' in caplog.text
    assert not (tmp_path / FILE).exists()
    # Other rates make the same leaves: that is known from the config alone.
    with pytest.raises(UserError, match=r'optimizer.learning_rate changed: .* 0 initialised'):
        run(variables, tmp_path, 'last:1', 4, PlanChange(('optimizer.learning_rate',)))
    assert run(variables, tmp_path, 'last:1', 2).steps == 2


@pytest.mark.parametrize('old,new', [('last:2', 'head'), ('head', 'last:2')])
def test_what_moved_stays_whether_or_not_it_still_trains(variables, tmp_path, old, new):
    before = run(variables, tmp_path, old, 2)
    moments = restored(tmp_path / 'checkpoints').items['state']['opt_state']
    after = run(variables, tmp_path, new, 4, PlanChange(allowed=True))
    first, old_, new_ = (
        flatten_dict(dict(tree['params']), sep='/')
        for tree in (variables, before.variables, after.variables)
    )
    trained = make_plan(new, NET, variables).trained
    both = make_plan(old, NET, variables).trained
    assert both != trained and moments
    for path in first:
        if path not in trained:  # as the first plan left it
            assert np.array_equal(old_[path], new_[path])
            assert np.array_equal(first[path], new_[path]) == (path not in both)
    stats = [flatten_dict(dict(r.variables['batch_stats']), sep='/') for r in (before, after)]
    still = [p for p in stats[0] if np.array_equal(stats[0][p], stats[1][p])]
    assert still and (len(still) < len(stats[0]) or new == 'head')
    assert after.verification.frozen_unchanged
    assert [row['step'] for row in after.history] == [2, 4]
    (noted,) = read_jsonl(tmp_path / FILE)
    assert noted['step'] == 2 and noted['kept'] > 0
    # From there on it is an ordinary run of the new plan.
    again = run(variables, tmp_path, new, 6, PlanChange())
    assert again.verification.frozen_unchanged and len(read_jsonl(tmp_path / FILE)) == 1


def test_moments_are_kept_by_path_whatever_their_group(variables, tmp_path, caplog):
    """The rules of two plans may name the group of a leaf differently."""
    run(variables, tmp_path, {'rules': [('head/.*', 'top'), ('.*', 'frozen')]}, 2)
    change = PlanChange(('freeze.rules',), allowed=True)
    with caplog.at_level(logging.WARNING):
        run(variables, tmp_path, {'rules': [('head/.*', 'last'), ('.*', 'frozen')]}, 4, change)
    (noted,) = read_jsonl(tmp_path / FILE)
    assert noted['initialised'] == {} and noted['dropped'] == [] and noted['kept'] > 4


def stands(freeze):
    """A phase state of a run of the tiny ViT, with the adapters of its strategy."""
    settings = as_settings(freeze)
    net, variables = with_adapters(settings, VIT, initial(VIT))
    plan = make_plan(settings, net, variables, run_length=RunLength(8, 4))
    return PhaseState(RunSpec(net, variables, plan))


def gone_on(old, new, step=4):
    """A phase state of another plan that has taken up the checkpoint of one, and what changed."""
    old.enter(0)
    phase_state = stands(new)
    return phase_state, restore(phase_state, saved_of(old), step)


def saved_of(phase_state):
    """What a checkpoint gives back of a phase state."""
    return unpack(*pack(to_saved(phase_state)))


@pytest.mark.parametrize('new', ['lora:1', 'head'])
def test_leaves_of_adapters_that_a_network_has_not_are_left_behind(new):
    phase_state, changes = gone_on(stands('lora:2'), new)
    own = flatten_dict(phase_state.variables['params'], sep='/')
    now = flatten_dict(phase_state.current()['params'], sep='/')
    assert {p: x.shape for p, x in now.items()} == {p: x.shape for p, x in own.items()}
    path = 'trainable/block_00/attn/query/lora_a'
    if new == 'head':
        assert path in changes.dropped
    else:
        assert (
            changes.initialised[path] == 'float32(8, 2) in the checkpoint, float32(8, 1) expected'
        )


def test_best_weights_with_other_leaves_are_none_of_the_new_network():
    old, new = stands('lora:2'), stands('head')
    old.enter(0)
    best = BestSoFar()
    best.update(2, {'score': 1.0, 'loss': 0.1})
    told = {'history': [], 'best': best.to_json(ACCURACY)}
    for phase_state, step in ((stands('lora:2'), 2), (new, -1)):
        state = RunState(phase_state, TrainSettings(), phase_state.variables)
        state._take_up({**saved_of(old), 'progress': told}, 4)
        assert state.best.step == step


def test_a_strategy_that_looks_at_the_data_chooses_when_it_takes_over():
    phase_state, changes = gone_on(stands('head'), 'random_mask:0.1')
    assert not changes.same and not phase_state.chosen
    assert phase_state.chooses_at(4)
    probe = types.SimpleNamespace(params=phase_state.loaded, seed=0)
    phase_state.choose(probe, 4)
    assert phase_state.chosen == (4,) and not phase_state.chooses_at(5)
    # No step was made in the phase that it chooses from, in which all would train.
    assert [phase.start for phase in phase_state.plan.phases] == [0]
    assert phase_state.plan.size_trained < 0.2 * phase_state.plan.at(0).size()
    phase_state.enter(4)
    again = stands('random_mask:0.1')
    assert restore(again, saved_of(phase_state), 6).same
    assert again.chosen == (4,) and again.former['params'] == phase_state.former['params']


def test_choices_of_another_strategy_are_left_behind():
    old = stands('auto_rgn')
    old.plan = old.plan.with_choice(Choice(0, dict.fromkeys(old.loaded, 0.5), {'by_stage': {}}))
    assert gone_on(old, 'autofreeze:2')[0].chosen == ()
    assert gone_on(old, 'auto_rgn')[0].chosen == (0,)


def test_an_average_knows_what_an_earlier_plan_trained(variables, monkeypatch):
    monkeypatch.setattr(weight_averaging, 'validated', lambda *_: {'loss': 1.0, 'score': 0.0})
    freeze = {'strategy': 'head+wise_ft:2', 'norm': 'frozen'}
    spec = RunSpec(NET, variables, make_plan(freeze, NET, variables), DATA)
    ended = {**variables, 'params': jax.tree.map(lambda x: x + 1.0, variables['params'])}
    done = FitResult(
        *(ended, spec.plan, 4, 4, {}, [], Verification((), ()), 0, 0.0, None, 0.0, None, []),
        former={'params': frozenset(spec.plan.at(0).leaves), 'stats': frozenset()},
    )
    for fitted in (done, dataclasses.replace(done, former={})):
        result, _ = fit_averaged(spec, lambda *_, fitted=fitted: fitted, None)
        assert result.verification.frozen_unchanged == bool(fitted.former)


def test_a_best_score_is_of_the_metric_that_decides_now():
    before = BestSoFar()
    before.update(20, {'loss': 1.9, 'accuracy': 0.35, 'score': 0.35})
    saved = before.to_json(ACCURACY)
    assert BestSoFar.from_json(saved, 3, ACCURACY) == dataclasses.replace(before, patience=3)
    best = BestSoFar.from_json(saved, 3, LOG_LOSS)
    assert best.score == best.values['score'] == -1.9 and best.step == 20
    assert best.update(30, {'loss': 0.9, 'accuracy': 0.3, 'score': -0.9})
    assert BestSoFar.from_json(saved, 3, share('macro_f1')) == BestSoFar(3)


CONFIG = {
    'init': '',
    'model': {'name': 'vit', 'image_size': 16, 'patch_size': 8, 'width': 8, 'depth': 2, 'heads': 2},
    'data': {'source': 'digits:scattered', 'examples_per_class': 3, 'batch_size': 10},
    'train': {'steps': 2, 'eval_every': 1.0, 'report': False},
    'freeze': 'last:1',
}


@pytest.fixture(scope='module')
def splits():
    return prepare(read_config(CONFIG)).data


def ready(splits, **changes):
    return prepare(read_config({**CONFIG, **changes}), splits)


def test_a_folder_tells_which_keys_differ_and_writes_nothing(splits, tmp_path):
    start_folder(tmp_path, ready(splits))
    (tmp_path / 'checkpoints' / '2').mkdir(parents=True)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')}
    with pytest.raises(UserError, match=r'another config \(seed differs\)'):
        start_folder(tmp_path, ready(splits, seed=1), allow_plan_change=True)
    change = start_folder(
        tmp_path,
        ready(splits, freeze='head', train={'steps': 3, 'eval_every': 1.0, 'report': False}),
    )
    assert change == PlanChange(('freeze.strategy', 'train.steps'))
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')}
    assert start_folder(tmp_path, ready(splits, freeze='head'), True).allowed
    assert read_json(tmp_path / 'config.json')['freeze']['strategy'] == 'head'


def test_what_is_told_of_a_run_is_no_part_of_it(splits, tmp_path):
    start_folder(tmp_path, ready(splits))
    told = {section: CONFIG[section] for section in ('train', 'data')}
    told['train'] = {**told['train'], 'report': True}
    noted = ready(splits, train=told['train'], data={**told['data'], 'slices': ('site',)})
    assert check_folder(tmp_path, noted).keys == ()


def test_a_tuple_of_the_config_is_the_list_that_its_file_holds():
    model = {'name': 'resnet', 'depths': (1, 1), 'widths': (8, 16)}
    written = read_config({'model': {**model, 'depths': [1, 1], 'widths': [8, 16]}})
    assert config_differences(read_config({'model': model}), written) == []
    assert config_differences(read_config({'model': {**model, 'depths': (1, 2)}}), written)


def test_without_checkpoints_or_when_finished_another_plan_is_another_run(splits, tmp_path):
    start_folder(tmp_path, ready(splits))
    with pytest.raises(UserError, match=r'another config \(freeze.strategy differs\)'):
        check_folder(tmp_path, ready(splits, freeze='head'), True)
    (tmp_path / 'checkpoints' / '2').mkdir(parents=True)
    (tmp_path / 'result.json').write_text('{}')
    with pytest.raises(UserError, match='holds a finished run of another config'):
        check_folder(tmp_path, ready(splits, freeze='head'), True)
    (tmp_path / 'config.json').write_text('{"sed": 1}')
    with pytest.raises(UserError, match=r"config.json: unknown config key 'sed'"):
        check_folder(tmp_path, ready(splits))


def test_a_plan_of_several_runs_goes_on_where_the_first_of_them_is(splits, tmp_path):
    of_two = ready(splits, freeze='last:1+soup_uniform:2')
    start_folder(tmp_path, of_two)
    (tmp_path / 'run_0' / 'checkpoints' / '2').mkdir(parents=True)
    other = ready(splits, freeze='head+soup_uniform:3')
    assert check_folder(tmp_path, other).keys == ('freeze.strategy',)
    # A plan of one run finds no checkpoint to go on from.
    with pytest.raises(UserError, match=r'another config \(freeze.strategy differs\)'):
        check_folder(tmp_path, ready(splits, freeze='head'), True)


def test_what_is_saved_when_an_adaptation_stops_is_said(splits, tmp_path, monkeypatch):
    prepared = ready(splits)
    config = prepared.config
    asked = dataclasses.replace(config.train, adapt='tent')
    prepared = dataclasses.replace(prepared, config=dataclasses.replace(config, train=asked))

    def stopped(*_):
        raise Interrupted(signal.SIGINT)

    monkeypatch.setattr('ftjax.runs.run.fit', lambda *_, **__: None)
    monkeypatch.setattr('ftjax.runs.adapt.adapted', stopped)
    with pytest.raises(Interrupted, match='adapt; the training is saved: the same command'):
        train(prepared, tmp_path, progress=False)
    with pytest.raises(Interrupted, match='adapt; nothing is saved'):
        train(prepared, None, progress=False)


def test_a_run_holds_its_folder(splits, tmp_path, monkeypatch):
    prepared, found = ready(splits), []
    monkeypatch.setattr('ftjax.runs.run.fit', lambda *_, **__: None)
    monkeypatch.setattr(
        'ftjax.runs.run.finished', lambda *_: found.append((tmp_path / '.lock').exists())
    )
    train(prepared, tmp_path, progress=False)
    assert found == [True] and not (tmp_path / '.lock').exists()
    with run_lock(tmp_path):  # a script that locked it first
        train(prepared, tmp_path, progress=False)
        assert (tmp_path / '.lock').exists()
