"""Phases written out as a config make the plan they came from, and the file runs as it stands."""

import importlib.util
import subprocess
import sys

import jax
import pytest
from tiny_networks import network

from ftjax.errors import UserError
from ftjax.freezing.plan.as_config import written
from ftjax.freezing.plan.plan import make_plan
from ftjax.freezing.registry import catalogue
from ftjax.freezing.run_length import RunLength
from ftjax.freezing.settings import as_settings
from ftjax.freezing.strategies.adapters import with_adapters

RUN_LENGTH = RunLength(12, 2)
SHORT = {
    'lisa': 'lisa:1,4',
    'rifle': 'rifle:3,1',
    'reinit_top': 'reinit_top:1',
    'oft': 'oft:4',
    'loraplus': 'lora:2+loraplus:16',
    'badam': 'badam:4',
}
WRITABLE = [
    SHORT.get(name, found.example)
    for name, found in sorted(catalogue().items())
    if found.details.kind != 'data_driven'
]

SLOW = ('adapter:8', 'adapter_plus:8', 'oft:4', 'ssf')  # like lora and ia3, with more leaves


def plan_of(freeze, name='vit', head_is_new=True):
    settings = as_settings(freeze)
    net, variables = with_adapters(settings, *network(name))
    shapes = jax.eval_shape(lambda: variables)
    how = {'head_is_new': head_is_new, 'run_length': RUN_LENGTH}
    return make_plan(settings, net, shapes, **how), settings


def same_again(plan, settings, name='vit', head_is_new=True):
    """The plan of the phases that a plan's are written as, which must be the same."""
    again, _ = plan_of(written(plan, settings), name, head_is_new)
    assert [p.start for p in again.phases] == [p.start for p in plan.phases]
    for one, two in zip(plan.phases, again.phases, strict=True):
        assert one.trainable == two.trainable
        assert one.multipliers == two.multipliers
        assert one.modes == two.modes and one.cut == two.cut
        assert (one.restart, one.reinit) == (two.restart, two.reinit)
        for path in one.trainable:
            assert one.leaves[path].anneal == two.leaves[path].anneal
            assert one.leaves[path].decay == two.leaves[path].decay
    assert again.optimizer_state == plan.optimizer_state and again.rewarm == plan.rewarm
    assert again.recompute == plan.recompute and again.new_leaves == plan.new_leaves
    return again


@pytest.mark.parametrize(
    'strategy',
    [
        *(
            pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
            for name in WRITABLE
        ),
        'freezeout+llrd:0.75+l2_sp',
        'last:1+lora:2+ema',
        'gradual+llrd+stlr',
    ],
)
def test_the_written_phases_make_the_same_plan(strategy):
    for name in ('vit', 'batch_norm'):
        try:
            plan, settings = plan_of(strategy, name)
        except UserError:
            assert name == 'batch_norm'
            continue
        again = same_again(plan, settings, name)
        extra = {str(t) for t in plan.terms if t.details.kind not in ('mask', 'rates', 'schedule')}
        assert {str(t) for t in again.terms} == extra


@pytest.mark.parametrize(
    'phases',
    [
        [{'until': '50%', 'freeze': 'full', 'norm': 'frozen', 'noise': 'off'}, (None, 'full')],
        [('50%', 'block:1'), {'until': None, 'freeze': 'full', 'norm': 'auto'}],
    ],
)
def test_written_phases_keep_their_own_norm_and_noise(phases):
    plan, settings = plan_of({'phases': phases}, 'batch_norm')
    first, second = plan.phases
    assert second.moving_stats and not first.moving_stats
    same_again(plan, settings, 'batch_norm')


def test_a_phase_trains_its_own_adapters_alone():
    plan, _ = plan_of({'phases': [('50%', 'lora:2'), (None, 'ssf')]})
    for phase, begins in zip(plan.phases, ('lora_', 'ssf_'), strict=True):
        added = [path.split('/')[-1] for path in phase.trainable if path in plan.net.adapters]
        assert added and all(name.startswith(begins) for name in added)


def test_adapters_that_phases_alone_name_are_written():
    plan, settings = plan_of({'phases': [('50%', 'head'), (None, 'lora:2')]})
    assert written(plan, settings)['strategy'] == 'lora:2'
    same_again(plan, settings)


@pytest.mark.parametrize('head', ['auto', 'train'])
def test_the_head_of_a_pretrained_decoder_is_written_as_it_trains(head):
    plan, settings = plan_of({'strategy': 'last:1+ema', 'head': head}, 'decoder', False)
    trains = any(path.startswith('head/') for path in plan.at(0).trainable)
    assert trains == (head == 'train')
    same_again(plan, settings, 'decoder', False)


def test_what_is_decided_from_data_cannot_be_written_before():
    plan, settings = plan_of('auto_rgn')
    with pytest.raises(UserError, match=r'plan\.json'):
        written(plan, settings)


def test_a_mask_beside_phases_is_refused():
    with pytest.raises(UserError, match='keep one'):
        plan_of({'strategy': 'head', 'phases': [(None, 'full')]})


@pytest.mark.slow
def test_the_script_writes_a_config_that_runs(tmp_path, repository):
    file = tmp_path / 'mine.py'
    base = ['--config=configs/quickstart_train.py', '--config.train.epochs=2']

    def call(script, *flags):
        command = [sys.executable, f'scripts/{script}', *flags]
        return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)

    made = call('plan.py', *base, '--config.freeze=lp_ft', f'--write-phases={file}')
    assert made.returncode == 0, made.stderr
    again = call('plan.py', *base, '--config.freeze=lp_ft', f'--write-phases={file}')
    assert again.returncode != 0 and 'exists already' in again.stderr
    spec = importlib.util.spec_from_file_location('mine', file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    phases = module.get_config().freeze.phases
    assert [phase['until'] for phase in phases] == ['4 steps', None]
    ran = call('train.py', f'--config={file}', f'--workdir={tmp_path / "run"}')
    assert ran.returncode == 0, ran.stderr
    assert 'bitwise unchanged' in ran.stdout and 'from step 4: opens' in ran.stdout
