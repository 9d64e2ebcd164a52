"""Runs of an NNX model: the losses of its linen twin, resumed to the same bits, stored features."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict
from tiny_runs import noise, splits

from ftjax.api import finetune
from ftjax.errors import UserError
from ftjax.freezing.plan.plan import make_plan
from ftjax.freezing.run_length import RunLength
from ftjax.models import from_nnx
from ftjax.models.registry import build
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.training.loop.fit import fit
from ftjax.training.loop.validation import BestSoFar
from ftjax.training.settings import TrainSettings
from ftjax.training.step.run_spec import RunSpec

DATA = splits(noise, 24, 9, 9)
ADAM = OptimizerSettings(learning_rate=1e-2, weight_decay=0.1, clip_norm=1.0)
SIZES = {'image_size': 8, 'patch_size': 4, 'width': 8, 'depth': 2, 'heads': 2, 'num_classes': 3}
STRATEGIES = (
    *('full', 'head', 'last:1', 'first:1', 'norm', 'attention', 'mlp', 'bitfit', 'llrd:0.5'),
    *('gradual', 'lp_ft', 'l2_sp', 'ema:0.5', 'freezeout', 'auto_rgn', 'fisher_mask'),
)


@pytest.fixture(scope='module')
def twins(repository):
    """{side: (network, variables)} of a ViT and of a ResNet with BatchNorm."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(repository / 'scripts')
        from benchmarks import nnx_twins

        x = jnp.zeros((1, 8, 8, 3))
        model = nnx_twins.ViT(dropout=0.0, rngs=nnx.Rngs(0))
        vit = from_nnx(model, nnx_twins.vit_stages(2), example=x)
        pairs = flatten_dict(vit.variables['params'], sep='/').items()
        leaves = dict(nnx_twins.linen_vit_leaf(key, leaf, 4) for key, leaf in pairs)
        linen = build('vit', {**SIZES, 'act': 'gelu_tanh'})
        resnet = nnx_twins.ResNet(3, 8, 2, 3, rngs=nnx.Rngs(0))
        convolved = from_nnx(resnet, nnx_twins.resnet_stages(2), example=x)
        noisy = nnx_twins.ViT(dropout=0.2, rngs=nnx.Rngs(0))
        yield {
            'vit': (vit.network, vit.variables),
            'linen vit': (linen, {'params': unflatten_dict(leaves, sep='/')}),
            'resnet': (convolved.network, convolved.variables),
            'linen resnet': (nnx_twins.LinenResNet(), convolved.variables),
            'noisy': from_nnx(noisy, nnx_twins.vit_stages(2), example=x),
        }


def run(pair, strategy, folder=None, **train):
    network, variables = pair
    settings = {'steps': 6, 'eval_every': 1.0, 'keep': 'last', 'cache': 'off', **train}
    return fit(
        RunSpec(
            network,
            variables,
            make_plan(strategy, network, variables, run_length=RunLength(6, 2)),
            DATA,
            optimizer=ADAM,
            settings=TrainSettings(**settings),
            batch_size=12,
            eval_batch_size=9,
        ),
        workdir=folder,
        progress=False,
    )


def losses(result):
    return np.array([[row['train_loss'], row['val_loss']] for row in result.history])


@pytest.mark.slow
@pytest.mark.parametrize('strategy', STRATEGIES)
def test_losses_are_those_of_the_twin(twins, strategy):
    ours, theirs = run(twins['vit'], strategy), run(twins['linen vit'], strategy)
    assert ours.verification.frozen_unchanged and not ours.verification.still_trainable
    np.testing.assert_allclose(losses(ours), losses(theirs), rtol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize('strategy', ['full', 'last:1', 'first:1'])
def test_statistics_of_batch_norm_move_as_those_of_the_twin(twins, strategy):
    ours, theirs = run(twins['resnet'], strategy), run(twins['linen resnet'], strategy)
    np.testing.assert_allclose(losses(ours), losses(theirs), rtol=2e-5)
    sides = (twins['resnet'][1], ours.variables, theirs.variables)
    before, one, two = (flatten_dict(x['batch_stats'], sep='/') for x in sides)
    assert one.keys() == two.keys()
    for path, leaf in one.items():
        np.testing.assert_allclose(leaf, two[path], rtol=1e-4, atol=1e-6)
        stays = np.array_equal(leaf, before[path])
        frozen = {'last:1': 'block_00', 'first:1': 'block_01'}.get(strategy)
        assert stays == (path.split('/')[0] == frozen)


@pytest.mark.slow
def test_stored_features_change_no_loss(twins):
    plain, stored = (run(twins['vit'], 'last:1', cache=mode) for mode in ('off', 'on'))
    assert 'features stored' in stored.cache[0]
    np.testing.assert_allclose(losses(plain), losses(stored), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('strategy', ['full', 'gradual'])
def test_a_run_with_dropout_goes_on_to_the_same_bits(twins, strategy, tmp_path, monkeypatch):
    built = twins['noisy']
    pair = built.network, built.variables
    whole = run(pair, strategy, tmp_path / 'whole')
    again = run(pair, strategy, tmp_path / 'again')
    update, count = BestSoFar.update, [0]

    def once(self, *arguments):
        count[0] += 1
        if count[0] == 2:  # the second validation is lost with the process
            raise KeyboardInterrupt
        return update(self, *arguments)

    monkeypatch.setattr(BestSoFar, 'update', once)
    with pytest.raises(KeyboardInterrupt):
        run(pair, strategy, tmp_path / 'stopped')
    resumed = run(pair, strategy, tmp_path / 'stopped')
    for other in (again, resumed):
        same = jax.tree.map(np.array_equal, whole.variables, other.variables)
        assert all(jax.tree.leaves(same))


@pytest.mark.slow
def test_a_model_in_python_is_trained_answers_and_takes_adapters(twins, tmp_path):
    """`finetune` takes what from_nnx returns; only a folder needs a name."""
    x, y = np.random.default_rng(0).random((40, 8, 8, 3), np.float32), np.arange(40) % 4
    fine = functools.partial(finetune, twins['noisy'], (x, y), data={'batch_size': 8})
    done = fine(freeze='lora:2,4', train={'steps': 2}, precision='bfloat16')
    done.fit(progress=False)
    assert done.result['frozen_unchanged'] and done.result['trainable_changed']
    assert len(done.predict(list(x[:3]))) == 3 and done.features(list(x[:3])).shape[0] == 3
    assert 'precision: computes in bfloat16' in done.plan()
    with pytest.raises(
        UserError, match=r"can be saved only by the name.*@register\('model', NAME\)"
    ):
        fine(freeze='head', train={'steps': 1}).fit(tmp_path / 'run', progress=False)
    assert not (tmp_path / 'run').exists()
    noted = r'its layers .*fc1.*query.*; lora:2,targets=\w+ says which'
    with pytest.raises(UserError, match=noted):
        fine(freeze='lora:2,4,nothing')
