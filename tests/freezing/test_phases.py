"""Plans over time: what opens when, what a phase carries on, and phases written by a user."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from tiny_networks import batch_of, network

from ftjax.errors import UserError
from ftjax.freezing.plan.plan import make_plan
from ftjax.freezing.run_length import RunLength
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.optim.schedule import ScheduleSettings, leaf_rates
from ftjax.tasks import task_of
from ftjax.training.step.phase_state import PhaseState
from ftjax.training.step.run_spec import RunSpec

RUN_LENGTH = RunLength(12, 2)
CONSTANT = ScheduleSettings(name='constant', warmup=0.0)
LR = 1e-2
EVERYTHING = OptimizerSettings(learning_rate=LR, weight_decay=0.3, clip_norm=0.5, ema=0.9)


def plan_of(freeze, name='vit', run_length=RUN_LENGTH, seed=0):
    net, variables = network(name)
    return make_plan(freeze, net, variables, run_length=run_length, seed=seed)


def flat_of(variables):
    return flatten_dict(jax.device_get(variables['params']), sep='/')


def walk(plan, settings, name='vit', total=RUN_LENGTH.steps, seed=0):
    """Steps of a phase state, each with its phase, the leaves before and after, and its metrics."""
    net, variables = network(name)
    phase_state = PhaseState(RunSpec(net, variables, plan, optimizer=settings, seed=seed))
    compiled = {}
    for step in range(total):
        phase_state.enter(step)
        before = flat_of(phase_state.current(averaged=False))
        key = phase_state.step()
        if key not in compiled:
            compiled[key] = jax.jit(key)
        rates = leaf_rates(plan, CONSTANT, settings.learning_rate, step, total)
        phase_state.state, metrics = compiled[key](
            phase_state.state, phase_state.frozen, batch_of(net), rates
        )
        yield step, phase_state, before, flat_of(phase_state.current(averaged=False)), metrics


TIMED = ('gradual_first', 'gradual_steps', 'chain_thaw', 'freezeout', 'lisa:1,4', 'hft')
SLOW = [pytest.param(strategy, marks=pytest.mark.slow) for strategy in TIMED]


@pytest.mark.parametrize('strategy', ['gradual', *SLOW])
def test_in_every_step_exactly_the_leaves_of_its_phase_move(strategy):
    plan = plan_of({'strategy': strategy, 'decay_vectors': True})
    assert len(plan.phases) > 2
    for step, phase_state, before, after, _ in walk(plan, EVERYTHING):
        moved = {p for p in before if before[p].tobytes() != after[p].tobytes()}
        assert moved == set(plan.at(step).trainable) == set(phase_state.phase.trainable)


def test_gradual_opens_one_group_an_epoch_and_never_closes_one():
    net, _ = network('vit')
    for strategy, order in (
        ('gradual', net.blocks[::-1]),
        ('gradual_first', ('embed', *net.blocks)),
    ):
        plan = plan_of(strategy)
        assert [phase.start for phase in plan.phases] == [0, 2, 4, 6, 8]
        sets = [set(phase.trainable) for phase in plan.phases]
        assert all(a < b for a, b in itertools.pairwise(sets))
        opened = [{p.split('/')[0] for p in b - a} for a, b in itertools.pairwise(sets)]
        assert opened[: len(order)] == [{name} for name in order][: len(opened)]
        assert {p.split('/')[0] for p in sets[0]} == {'norm', 'head'}
        assert sets[-1] == set(plan.phases[0].leaves)


def test_lisa_draws_by_seed_and_keeps_embeddings_and_head_open():
    net, _ = network('vit')
    run_length = RunLength(200, 10)

    def drawn(seed):
        phases = plan_of('lisa:1,4', run_length=run_length, seed=seed).phases
        return [{p.split('/')[0] for p in phase.trainable} for phase in phases]

    draws = [drawn(seed) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2] and len(draws[0]) == 50
    assert all(len(d & set(net.blocks)) == 1 and {'embed', 'norm', 'head'} <= d for d in draws[0])
    assert set().union(*draws[0]) == set(net.stages)


def test_hft_opens_half_of_the_matrices():
    plan = plan_of('hft')
    matrices = {p for p, leaf in plan.phases[0].leaves.items() if len(leaf.shape) > 1}
    trunk = {p for p in matrices if not p.startswith('head/')}
    for phase in plan.phases:
        assert len(set(phase.trainable) & trunk) == round(len(trunk) / 2)
        assert set(phase.leaves) - trunk <= set(phase.trainable)


def test_lp_ft_begins_its_second_part_at_the_loss_the_first_ended_with():
    net, _ = network('vit')
    batch = batch_of(net)
    losses, ended = {}, None
    settings = OptimizerSettings(name='sgd', learning_rate=0.1)
    for step, phase_state, _, _, metrics in walk(plan_of('lp_ft:0.5'), settings, total=8):
        losses[step] = float(metrics['loss'])
        if step == 5:
            ended = phase_state.current()
    outputs = net.apply(ended, batch['inputs'])
    total, weight = task_of('classification').loss(outputs, batch)
    expected = float(total / weight)
    assert losses[6] == pytest.approx(expected, rel=1e-5)
    assert losses[5] > losses[6] > losses[7]


@pytest.mark.parametrize('policy', ['per_leaf_count', 'keep'])
def test_the_first_adam_step_of_a_leaf_that_opens(policy):
    """lr with a count of its own; 10^.5 lr (less while the count is low) under a shared one."""
    settings = OptimizerSettings(name='adam', learning_rate=LR, epsilon=1e-12)
    plan = plan_of({'strategy': 'lp_ft:0.5', 'optimizer_state': policy}, 'group_norm')
    seen = False
    for step, _, before, after, _ in walk(plan, settings, 'group_norm', total=7):
        if step == 6:
            opened = set(plan.at(6).trainable) - set(plan.at(0).trainable)
            path = next(p for p in sorted(opened) if before[p].ndim == 4)
            sizes = np.abs(after[path] - before[path])
            t = 7
            shared = (1 - 0.9) / (1 - 0.9**t) * np.sqrt((1 - 0.999**t) / (1 - 0.999))
            expected = LR * (shared if policy == 'keep' else 1.0)
            # A gradient of exactly 0 moves nothing; all others by one length.
            assert np.median(sizes[sizes > 0]) == pytest.approx(expected, rel=1e-3)
            seen = True
    assert seen


def test_moments_of_leaves_that_stay_are_carried_by_path():
    plan = plan_of('gradual')
    settings = OptimizerSettings(name='adamw', learning_rate=LR, weight_decay=0.1)
    kept = {}
    for step, phase_state, *_ in walk(plan, settings, total=4):
        found = flat_state(phase_state)
        kept[step] = {
            k: v for k, v in found.items() if 'head/dense/kernel' in k or 'head/kernel' in k
        }
    counts = [v for k, v in kept[3].items() if 'count' in k]
    assert [int(c) for c in counts] == [4] * len(counts) and counts
    assert len(kept[1]) == len(kept[2])
    shared = OptimizerSettings(name='sgd', learning_rate=LR)
    traces = [
        next(v for k, v in flat_state(phase_state).items() if 'head' in k and v.ndim == 2)
        for _, phase_state, *_ in walk(plan, shared, total=3)
    ]
    # Momentum .9: after the change at step 2 the trace goes on from that of step 1.
    assert (
        not np.allclose(traces[2], traces[1]) and np.abs(traces[2]).max() > np.abs(traces[0]).max()
    )


def flat_state(phase_state):
    return {
        jax.tree_util.keystr(path): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(phase_state.state.opt_state)
    }


PHASES = [
    {'until': '1 epoch', 'freeze': 'head'},
    ('50%', 'last:1+llrd:0.5', 0.1),
    {
        'until': None,
        'rules': [('(block_02|norm|head)/.*', 'top'), ('.*', 'rest')],
        'multipliers': {'rest': 0.01},
        'norm': 'frozen',
        'restart': True,
    },
]


def test_phases_written_by_a_user():
    plan = plan_of({'phases': PHASES})
    assert [phase.start for phase in plan.phases] == [0, 2, 6]
    assert [phase.cut for phase in plan.phases] == ['head', 'block_02', 'embed']
    assert set(plan.phases[1].multipliers) == {0.1, 0.05}
    assert set(plan.phases[2].multipliers) == {1.0, 0.01}
    assert plan.season(7, 12) == (6, 12)


@pytest.mark.parametrize(
    ('phases', 'message'),
    [
        ([('10 epochs', 'head'), ('5 epochs', 'full')], 'not after step'),
        ([('50%', 'head')], 'let its until be None'),
        ([('half', 'head'), (None, 'full')], "expected '30%'"),
        ([(None, 'gradual')], 'a phase takes masks'),
        ([{'until': None, 'frees': 'head'}], 'freeze'),
        ([{'until': None}], 'needs either freeze or rules'),
        ([(None,)], 'expected'),
        ([{'until': None, 'rules': [('hed/.*', 'a'), ('.*', 'frozen')]}], 'head'),
        ([{'until': None, 'freeze': 'full', 'reinit': ['hed/.*']}], 'head'),
        ([{'until': None, 'freeze': 'full', 'multipliers': {'a': 0.1}}], 'groups of rules'),
        ([{'until': None, 'freeze': 'full', 'anneal': {'a': 5}}], 'groups of rules'),
        ([{'until': None, 'rules': [('.*', 'all')], 'anneal': {'al': 5}}], 'all'),
        ([{'until': None, 'rules': [('.*', 'all')], 'anneal': {'all': 0}}], 'a step above 0'),
        ([{'until': None, 'freeze': 'full', 'norm': 'recompute'}], 'norm of a phase'),
    ],
)
def test_mistakes_in_phases_are_named(phases, message):
    with pytest.raises(UserError, match=message):
        plan_of({'phases': phases})


@pytest.mark.parametrize(
    ('strategy', 'message'),
    [
        ('full+last:2', 'keep one'),
        ('gradual+lisa:1', 'keep one'),
        ('gradual+auto_rgn', 'keep one'),
        ('llrd+discriminative', 'keep one'),
        ('wise_ft+soup_greedy', 'keep one'),
        ('last:1+last:1', 'twice'),
        ('head+gradual', 'changes nothing'),
        ('graduel', 'gradual'),
        ('lorra:4', 'lora'),
        ('lisa:9', 'the network has 3'),
        ('freezeout:0.8,cubical', 'cubic'),
        ('lora:0', 'at least 1'),
    ],
)
def test_contradictions_and_typos_are_named(strategy, message):
    from ftjax.freezing.settings import as_settings
    from ftjax.freezing.strategies.adapters import with_adapters

    net, variables = network('vit')
    with pytest.raises(UserError, match=message):
        with_adapters(as_settings(strategy), net, variables)
        plan_of(strategy)


def test_the_plan_is_a_pure_function_of_config_and_step():
    for strategy in ('lisa:1,4', 'hft', 'rifle:3,1', 'freezeout'):
        one, two = plan_of(strategy), plan_of(strategy)
        assert one.to_json() == two.to_json()
        assert all(one.at(s).trainable == two.at(s).trainable for s in range(12))


def test_bitfit_trains_biases_and_the_head_and_nothing_else():
    phase = plan_of('bitfit').at(0)
    leaves = phase.leaves.values()
    biases = sum(
        leaf.size for leaf in leaves if leaf.path.endswith('/bias') and leaf.stage != 'head'
    )
    head = sum(leaf.size for leaf in leaves if leaf.stage == 'head')
    assert phase.size(trainable_only=True) == biases + head


def test_weights_are_averaged_only_where_all_go_back_to_one_start():
    assert plan_of('rifle:3,1+wise_ft').phases[1].reinit  # both ends have the same new head
    for other in ('soup_uniform:2', 'soup_greedy:2'):
        with pytest.raises(UserError, match=r'head/.* is re-initialised in each run'):
            plan_of(f'rifle:3,1+{other}')


def test_rifle_starts_the_head_afresh_and_the_seed_decides_how():
    plan = plan_of('rifle:3,1')
    assert [phase.start for phase in plan.phases] == [0, 4, 8]
    heads = {}
    for seed in (0, 1):
        settings = OptimizerSettings(name='sgd', learning_rate=1e-6)
        for step, _, before, after, _ in walk(plan, settings, seed=seed, total=5):
            path = next(p for p in before if p.startswith('head/') and before[p].ndim == 2)
            heads[seed, step] = jnp.array(after[path])
    assert np.allclose(heads[0, 0], heads[0, 3], atol=1e-4)
    assert not np.allclose(heads[0, 3], heads[0, 4], atol=1e-2)
    assert not np.allclose(heads[0, 4], heads[1, 4], atol=1e-2)
