"""`from_nnx`: a built NNX model is a network of stages, equal to its twin in linen."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict

from ftjax import registry
from ftjax.errors import UserError
from ftjax.freezing.plan.plan import make_plan
from ftjax.models import from_nnx, into_nnx
from ftjax.models.adapters.adapted import adapted, merge
from ftjax.models.adapters.ia3 import IA3
from ftjax.models.adapters.lora import LoRA
from ftjax.models.adapters.prompt import Prompt
from ftjax.models.adapters.ssf import SSF
from ftjax.models.registry import build
from ftjax.models.stages import EVAL, TRAIN, Mode, Network
from ftjax.pretrained.locate.locate import locate

SIZES = {'image_size': 8, 'patch_size': 4, 'width': 8, 'depth': 2, 'heads': 2, 'num_classes': 3}


@pytest.fixture(scope='module')
def twins(repository):
    """The module that defines the twins: benchmarks measure them too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(repository / 'scripts')
        from benchmarks import nnx_twins

        yield nnx_twins


def images(count=4):
    return np.random.default_rng(1).normal(size=(count, 8, 8, 3)).astype(np.float32)


def vit_pair(twins, dropout=0.0):
    """(the NNX model's network and variables, the same of its twin, the model, twin's names)."""
    model = twins.ViT(dropout=dropout, rngs=nnx.Rngs(0))
    built = from_nnx(model, twins.vit_stages(2), example=images(1))

    def renamed(params):
        pairs = flatten_dict(params, sep='/').items()
        leaves = dict(twins.linen_vit_leaf(key, leaf, 4) for key, leaf in pairs)
        return {'params': unflatten_dict(leaves, sep='/')}

    linen = build('vit', {**SIZES, 'act': 'gelu_tanh', 'dropout': dropout})
    twin = linen, renamed(built.variables['params'])
    return (built.network, built.variables), twin, model, renamed


def resnet_pair(twins):
    model = twins.ResNet(3, 8, 2, 3, rngs=nnx.Rngs(0))
    built = from_nnx(model, twins.resnet_stages(2), example=images(1))
    twin = twins.LinenResNet(), built.variables
    return (built.network, built.variables), twin, model, lambda params: {'params': params}


KEY = jax.random.key(2)
PAIRS = {'vit': vit_pair, 'resnet': resnet_pair}


@pytest.fixture(scope='module', params=PAIRS)
def pair(request, twins):
    return PAIRS[request.param](twins)


def loss(network, variables, mode, **rngs):
    """(mean square of the outputs, (outputs, statistics))."""
    out, moved = network.apply(variables, images(), modes=mode, rngs=rngs, mutable=['batch_stats'])
    return jnp.square(out).mean(), (out, dict(moved).get('batch_stats', {}))


def close(one, two, tolerance=1e-6):
    one, two = flatten_dict({'': one}, sep='/'), flatten_dict({'': two}, sep='/')
    assert one.keys() == two.keys()
    for path, leaf in one.items():
        np.testing.assert_allclose(leaf, two[path], rtol=tolerance, atol=tolerance)


SLOW = pytest.mark.slow


@pytest.mark.parametrize('mode', [EVAL, TRAIN], ids=['eval', 'train'])
def test_outputs_statistics_and_gradients_are_those_of_the_twin(pair, mode):
    """In float32 to 1e-6: dropout is 0, and both normalise by the batch or by what ran."""
    ours, twin, model, renamed = pair
    found, known = (
        jax.jit(
            jax.value_and_grad(functools.partial(loss, net, mode=mode, dropout=KEY), has_aux=True)
        )(given)
        for net, given in (ours, twin)
    )
    ((value, (out, stats)), grads), ((wanted, (expected, moved)), slopes) = found, known
    close(value, wanted)
    close(out, expected, 2e-6)
    close(stats, moved)
    close(renamed(grads['params'])['params'], slopes['params'], 2e-6)
    if mode is EVAL:
        model.eval()
        close(out, jax.jit(lambda x: model(x))(images()))


def test_stages_up_to_k_and_from_k_on_make_the_whole(pair):
    (network, variables), *_ = pair
    whole = network.apply(variables, images())
    for cut in network.stages[1:]:
        state = network.apply(variables, images(), stop=cut)
        assert set(state) == {'hidden'}
        close(network.apply(variables, state, start=cut), whole)


def test_leaves_are_named_by_stage_and_keys_are_text(pair):
    (network, variables), *_ = pair
    assert list(variables['params']) == [n for n in network.stages if n != 'pool']
    keys = flatten_dict(variables, sep='/')
    assert all(isinstance(key, str) for key in keys)
    assert network.init(jax.random.key(0), images(1)).keys() == variables.keys()


class Mixed(nnx.Module):
    """One Rngs for all, a table of its own, BatchNorm, and a head that shares the first table."""

    def __init__(self, rngs):
        self.table = nnx.Param(jax.random.normal(rngs.params(), (5, 6)))
        self.shift = nnx.Variable(jnp.arange(6.0))
        self.drops = nnx.List([nnx.Dropout(0.5, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)])
        self.rngs = rngs
        self.bn = nnx.BatchNorm(6, rngs=rngs)
        self.last = nnx.Linear(6, 3, rngs=rngs)

    def first(self, x):
        return x @ self.table + self.shift

    def second(self, x):
        return self.drops[0](self.drops[1](x))


MIXED = {
    'embed': lambda model, x: model.first(x),
    'block_00': lambda model, x: model.second(x),
    'norm': 'bn',
    'mix': lambda model, x: (x @ model.table.T) @ model.table,
    'head': 'last',
}


@functools.cache
def mixed():
    return from_nnx(Mixed(nnx.Rngs(0)), MIXED, example=jnp.zeros((2, 5)), rebuild=Mixed)


X = np.random.default_rng(3).normal(size=(64, 5)).astype(np.float32)


def outputs(mode, seed=0, **stages):
    built = mixed()
    return built.network.apply(
        built.variables,
        X,
        modes=mode,
        rngs={'dropout': jax.random.key(seed)},
        mutable=['batch_stats'],
        **stages,
    )


def test_noise_follows_the_key_of_the_run_and_only_where_it_is_on():
    noisy, quiet = Mode(deterministic=False), Mode()
    first, second = outputs(noisy)[0], outputs(noisy, seed=1)[0]
    np.testing.assert_array_equal(first, outputs(noisy)[0])
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(outputs(quiet)[0], outputs(quiet, seed=1)[0])
    kept = np.asarray(outputs(noisy, stop='norm')[0]['hidden']) != 0
    assert 0.15 < kept.mean() < 0.35  # two masks of one half, drawn apart
    assert not mixed().network.noiseless


@pytest.mark.parametrize('batch_stats', [False, True])
@pytest.mark.parametrize('deterministic', [False, True])
def test_statistics_and_noise_are_each_switched_alone(deterministic, batch_stats):
    _, moved = outputs(Mode(deterministic=deterministic, batch_stats=batch_stats))
    before, after = mixed().variables['batch_stats']['norm']['mean'], moved['batch_stats']
    assert np.array_equal(after['norm']['mean'], before) == (not batch_stats)


def test_what_is_shared_has_one_leaf_and_both_gradients():
    built = mixed()
    assert built.network.ties == {'mix': ('embed/table',)}
    assert set(built.variables['params']) == {'embed', 'norm', 'head'}

    def of(table):
        params = {**built.variables['params'], 'embed': {'table': table}}
        return jnp.square(built.network.apply({**built.variables, 'params': params}, X)).sum()

    model = Mixed(nnx.Rngs(0))
    model.eval()
    graphdef, state = nnx.split(model)

    def direct(table):
        model = nnx.merge(graphdef, state)
        model.table = nnx.Param(table)
        x = MIXED['mix'](model, model.bn(model.second(model.first(X))))
        return jnp.square(model.last(x)).sum()

    table = built.variables['params']['embed']['table']
    close(jax.grad(of)(table), jax.grad(direct)(table), 1e-5)


def test_other_random_weights_are_drawn_as_the_model_draws_them():
    from ftjax.pretrained.initialise import random_leaves, random_variables

    drawn = random_variables(mixed().network, seed=5)
    close(drawn['params']['head'], nnx.to_pure_dict(nnx.state(Mixed(nnx.Rngs(5)).last)))
    again = random_leaves(mixed().network, {'params/head/kernel'}, 5)
    close(again['params/head/kernel'], drawn['params']['head']['kernel'])


def test_without_rebuild_weights_are_not_drawn_in_silence(twins):
    from ftjax.pretrained.initialise import random_leaves

    (network, _), *_ = vit_pair(twins)
    with pytest.raises(UserError, match=r'block_00/mlp/fc1/kernel.*rebuild=\.\.\) says how'):
        random_leaves(network, {'params/block_00/mlp/fc1/kernel'}, 0)


class Stacked(nnx.Module):
    """Blocks that lie in one stack, as `nnx.scan` runs them."""

    def __init__(self, rngs):
        self.first = nnx.Linear(5, 6, rngs=rngs)
        make = nnx.vmap(lambda rngs: nnx.Linear(6, 6, rngs=rngs), in_axes=0)
        self.layers = make(rngs.split(3))
        self.last = nnx.Linear(6, 2, rngs=rngs)

    def __call__(self, x):
        axes = {'in_axes': (nnx.Carry, 0), 'out_axes': nnx.Carry}
        return self.last(nnx.scan(lambda x, layer: layer(x), **axes)(self.first(x), self.layers))


def stacked(layer):
    blocks = {f'block_{i:02d}': layer.format(i) for i in range(3)}
    return {'embed': 'first', **blocks, 'head': 'last'}


def test_layers_of_a_stack_are_stages_of_their_own():
    model = Stacked(nnx.Rngs(0))
    built = from_nnx(model, stacked('layers[{}]'), example=X)
    kernels = [built.variables['params'][f'block_0{i}']['kernel'] for i in range(3)]
    np.testing.assert_array_equal(np.stack(kernels), model.layers.kernel[...])
    close(built.network.apply(built.variables, X), model(X))
    with pytest.raises(UserError, match=r'stacks of 3 layers.*write layers\[0\] for one'):
        from_nnx(model, stacked('layers.{}'), example=X)
    with pytest.raises(UserError, match=r'layer \[3\] of a stack of 3 layers'):
        from_nnx(model, {**stacked('layers[{}]'), 'block_03': 'layers[3]'}, example=X)
    some = {k: v for k, v in stacked('layers[{}]').items() if k != 'block_01'}
    with pytest.raises(UserError, match=r'layer \[1\] of layers\.(kernel|bias) is in no stage'):
        from_nnx(model, some, example=X)


REFUSED = [
    ({'head': 'lst'}, "stage 'head': the model Mixed has no 'lst'; Mixed has .*last"),
    ({'head': 'drops.2'}, "no 'drops.2'; there are 2"),
    ({'norm': 'shift'}, "stage 'norm': 'shift' is a Variable, no module"),
    ({'head': lambda m, x: x[:, :2]}, r'last\.(kernel|bias) of Mixed is used by no stage'),
    ({'embed': 'last'}, "stage 'embed' does not run on what .*float32\\[2, 5\\]"),
    ({'block_00': lambda m, x: (x, x)}, "stage 'block_00' returns tuple; expected an array"),
]


@pytest.mark.parametrize(('changes', 'said'), REFUSED, ids=range(len(REFUSED)))
def test_what_does_not_fit_is_named(changes, said):
    with pytest.raises(UserError, match=said):
        from_nnx(Mixed(nnx.Rngs(0)), {**MIXED, **changes}, example=jnp.zeros((2, 5)))


def test_a_model_of_another_output_than_its_stages_is_refused(twins):
    stages = twins.vit_stages(2)
    stages['norm'] = lambda model, x: model.norm(x)
    with pytest.raises(UserError, match=r'ViT returns float32\[1, 3\], and its stages in turn'):
        from_nnx(twins.ViT(rngs=nnx.Rngs(0)), stages, example=images(1))


def leaf_paths(network):
    """Shapes of all parameters, those of adapters included, by path."""
    shapes = jax.eval_shape(network.init, jax.random.key(0), images(1))
    return flatten_dict(shapes['params'], sep='/')


ADAPTERS = [
    pytest.param(LoRA(2), id='lora', marks=SLOW),
    pytest.param(LoRA(2, targets='fc1|out', magnitude=True), id='dora'),
    pytest.param(IA3(), id='ia3', marks=SLOW),
    pytest.param(SSF(), id='ssf', marks=SLOW),
    pytest.param(Prompt(2), id='prompt', marks=SLOW),
]


@pytest.mark.parametrize('adapter', ADAPTERS)
def test_adapters_act_on_its_layers_as_on_those_of_the_twin(twins, adapter):
    """The same added leaves with the same values give the same outputs, and merge."""
    (network, variables), (linen, known), *_ = vit_pair(twins)
    ours, theirs = adapted(network, [adapter]), adapted(linen, [adapter])
    draw, added = np.random.default_rng(0), {}
    for path, leaf in leaf_paths(theirs).items():
        if theirs.is_adapter_leaf(path):
            # About 0 where a product is added: about .5 it would be a matrix near rank one and
            # larger than the kernel, and float32 gives the network's outputs to 1e-5 then.
            middle = 0 if path.endswith(('lora_a', 'lora_b')) else 0.5
            added[path] = draw.normal(middle, 0.2, leaf.shape).astype(np.float32)
    assert added
    ours_added = {path.replace('norm/norm/', 'norm/'): leaf for path, leaf in added.items()}
    assert {p for p in leaf_paths(ours) if ours.is_adapter_leaf(p)} == set(ours_added)

    def with_added(variables, added):
        leaves = {**flatten_dict(variables['params'], sep='/'), **added}
        return {**variables, 'params': unflatten_dict(leaves, sep='/')}

    whole = with_added(variables, ours_added)
    out = ours.apply(whole, images())
    close(out, theirs.apply(with_added(known, added), images()), 2e-6)
    assert not np.allclose(out, network.apply(variables, images()), atol=1e-3)
    if adapter.mergeable:
        close(merge(ours, whole)[0].apply(merge(ours, whole)[1], images()), out, 5e-6)


class Foreign(nnx.Module):
    """Attention of NNX itself, whose projections have several dimensions, and odd names."""

    def __init__(self, rngs):
        self.ln = nnx.LayerNorm(8, rngs=rngs)
        self.mixer = nnx.MultiHeadAttention(2, 8, decode=False, rngs=rngs)
        self.drop = nnx.Dropout(0.5)

    def __call__(self, x, *, rngs):
        return x + self.drop(self.mixer(self.ln(x)), rngs=rngs)


class Tower(nnx.Module):
    def __init__(self, rngs):
        self.stem = nnx.Conv(3, 8, (4, 4), strides=(4, 4), rngs=rngs)
        self.layers = nnx.List([Foreign(rngs), Foreign(rngs)])
        self.out = nnx.Linear(8, 3, rngs=rngs)


TOWER = {
    'embed': lambda m, x: m.stem(x).reshape(len(x), -1, 8),
    'block_00': 'layers.0',
    'block_01': 'layers.1',
    'head': lambda m, x: m.out(x.mean(1)),
}


@functools.cache
def tower():
    return from_nnx(Tower(nnx.Rngs(0)), TOWER, example=images(1))


def test_an_index_in_brackets_finds_a_module_of_a_list():
    written = {'block_00': 'layers[0]', 'block_01': 'layers[1]'}
    found = from_nnx(Tower(nnx.Rngs(0)), TOWER | written, example=images(1))
    close(found.network.apply(found.variables, images()), tower_output())
    with pytest.raises(UserError, match=r"has no 'layers\.2'"):
        from_nnx(Tower(nnx.Rngs(0)), TOWER | {'block_01': 'layers[2]'}, example=images(1))


def tower_output():
    found = tower()
    return found.network.apply(found.variables, images())


def test_a_module_that_takes_rngs_is_given_those_of_the_run():
    def run(mode, seed):
        keys = {'dropout': jax.random.key(seed)}
        return tower().network.apply(tower().variables, images(), modes=mode, rngs=keys)

    noisy = Mode(deterministic=False)
    np.testing.assert_array_equal(run(noisy, 0), run(noisy, 0))
    assert not np.array_equal(run(noisy, 0), run(noisy, 1))
    np.testing.assert_array_equal(run(EVAL, 0), run(EVAL, 1))
    assert not tower().network.noiseless


def test_strategies_find_norms_and_attention_by_the_types_of_modules():
    network, variables = tower().network, tower().variables
    plan = make_plan('norm', network, variables)
    assert {p for p in plan.at(0).trainable if 'head' not in p} == {
        f'block_0{i}/ln/{leaf}' for i in range(2) for leaf in ('scale', 'bias')
    }
    trained = make_plan('attention', network, variables).at(0).trainable
    assert sum('mixer' in path for path in trained) == 16
    with pytest.raises(UserError, match='no perceptron leaves'):
        make_plan('mlp', network, variables)
    said = from_nnx(Tower(nnx.Rngs(0)), TOWER, example=images(1), roles={'mlp': '/ln/'}).network
    assert make_plan('mlp', said, variables).at(0).size(trainable_only=True) == 2 * 16 + 27
    with pytest.raises(UserError, match="role of leaves: 'nrom'; did you mean 'norm'"):
        from_nnx(Tower(nnx.Rngs(0)), TOWER, example=images(1), roles={'nrom': 'ln'})


@pytest.mark.parametrize('adapter', [ADAPTERS[0], ADAPTERS[1], ADAPTERS[3]])
def test_adapters_merge_into_projections_of_several_dimensions(adapter):
    network, variables = tower().network, tower().variables
    ours, draw = adapted(network, [adapter]), np.random.default_rng(0)
    own = flatten_dict(variables['params'], sep='/')
    more = {path: leaf for path, leaf in leaf_paths(ours).items() if path not in own}
    added = {p: draw.normal(0.5, 0.2, x.shape).astype(np.float32) for p, x in more.items()}
    whole = {**variables, 'params': unflatten_dict({**own, **added}, sep='/')}
    out, (plain, merged) = ours.apply(whole, images()), merge(ours, whole)
    assert added and not np.allclose(out, network.apply(variables, images()), atol=1e-3)
    close(plain.apply(merged, images()), out, 1e-5)


def test_a_dtype_is_that_of_its_layers():
    network = tower().network.clone(dtype='bfloat16')
    hidden = network.apply(tower().variables, images(), stop='head')['hidden']
    assert hidden.dtype == jnp.bfloat16
    out = network.apply(tower().variables, images())
    assert out.dtype == jnp.float32
    np.testing.assert_allclose(out, tower().network.apply(tower().variables, images()), atol=0.05)


class NNXHead(nnx.Module):
    """Takes the array, gives the outputs."""

    def __init__(self, width, classes, *, rngs):
        self.dense = nnx.Linear(width, classes, rngs=rngs)

    def __call__(self, x):
        return self.dense(x.mean((1, 2)))


class MixedStages(Network):
    """A linen stem, blocks of NNX with BatchNorm and dropout, a head of NNX."""

    num_classes: int = 3

    @property
    def stages(self):
        return ('stem', 'block_00', 'block_01', 'head')

    def make_stage(self, name):
        if name == 'stem':
            return LinenStem
        if name == 'head':
            return functools.partial(NNXHead, 6, self.num_classes)
        return functools.partial(NNXBlock, 6)

    def example_input(self, batch_size=1):
        return jnp.zeros((batch_size, 8, 8, 3))


class LinenStem(nn.Module):
    @nn.compact
    def __call__(self, images, mode):
        return {'hidden': nn.Conv(6, (3, 3), name='conv')(images)}


class NNXBlock(nnx.Module):
    def __init__(self, width, *, rngs):
        self.conv = nnx.Conv(width, width, (3, 3), rngs=rngs)
        self.bn = nnx.BatchNorm(width, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.table = nnx.Variable(jnp.arange(float(width)))

    def __call__(self, x):
        return x + self.drop(nnx.relu(self.bn(self.conv(x)))) + self.table


def test_make_stage_may_give_classes_of_nnx():
    network = MixedStages()
    variables = jax.jit(network.init)(jax.random.key(0), network.example_input())
    assert {*variables} == {'params', 'batch_stats'}
    assert {*variables['params']['block_00']} == {'conv', 'bn'}
    kernels = [variables['params'][f'block_0{i}']['conv']['kernel'] for i in range(2)]
    assert not np.array_equal(*kernels)  # drawn from keys of their own
    x = images()
    whole = network.apply(variables, x)
    state = network.apply(variables, x, stop='block_01')
    close(network.apply(variables, state, start='block_01'), whole)
    runs = [
        network.apply(
            *(variables, x),
            modes=TRAIN,
            rngs={'dropout': jax.random.key(i)},
            mutable=['batch_stats'],
        )
        for i in (0, 0, 1)
    ]
    np.testing.assert_array_equal(runs[0][0], runs[1][0])
    assert not np.array_equal(runs[0][0], runs[2][0])
    before, after = variables['batch_stats']['block_00'], runs[0][1]['batch_stats']['block_00']
    assert not np.array_equal(before['bn']['mean'], after['bn']['mean'])


def test_weights_go_back_into_a_model_with_adapters_merged_and_a_head_for_other_classes():
    from ftjax.pretrained.built_models import open_model

    ours = open_model(tower(), 'tower', num_classes=5)
    assert ours.report.head == 'new' and set(ours.report.initialised) == {
        'params/head/kernel',
        'params/head/bias',
    }
    made, draw = adapted(ours.network, [LoRA(2)]), np.random.default_rng(0)
    own = flatten_dict(ours.variables['params'], sep='/')
    shapes = leaf_paths(made)
    added = {p: draw.normal(size=x.shape) * 0.1 for p, x in shapes.items() if p not in own}
    whole = {**ours.variables, 'params': unflatten_dict({**own, **added}, sep='/')}
    model = into_nnx(Tower(nnx.Rngs(7)), made, whole)
    model.eval()
    x = TOWER['embed'](model, images())
    for layer in model.layers:
        x = layer(x, rngs=nnx.Rngs(0))
    close(TOWER['head'](model, x), made.apply(whole, images()), 1e-5)
    assert model.out.out_features == 5
    stack = from_nnx(Stacked(nnx.Rngs(0)), stacked('layers[{}]'), example=X)
    back = into_nnx(Stacked(nnx.Rngs(9)), stack.network, stack.variables)
    close(back(X), Stacked(nnx.Rngs(0))(X))
    with pytest.raises(UserError, match='ViT is no network of from_nnx'):
        into_nnx(model, build('vit', SIZES), {'params': {}})


def test_arguments_of_a_building_function_are_checked_before_it_runs(monkeypatch):
    monkeypatch.setitem(registry.PARTS, 'model', dict(registry.parts('model')))
    registry.register('model', 'built_here')(lambda width=8, sizes=(1, 2): None)
    for options, said in (
        ({'wdith': 3}, "option of model 'built_here': 'wdith'; did you mean 'width'"),
        ({'width': 'abc'}, "width is 'abc'; expected a value as 8"),
        ({'sizes': [1, 2]}, r"'built_here' returned None; expected from_nnx\(\.\.\)"),
    ):
        with pytest.raises(UserError, match=said):
            build('built_here', options)
    with pytest.raises(UserError, match=r"no pretrained network 'bulit_here'.*'built_here'"):
        locate('bulit_here')
