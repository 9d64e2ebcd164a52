"""Segmentation through the training loop: parts of a batch, features, remat, resume, PyTorch."""

import dataclasses
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_runs import blocks, initial, splits

from ftjax.data.joined import joined
from ftjax.data.masks.mask import MaskPixels, masks
from ftjax.distributed.interrupted import Interrupted
from ftjax.errors import UserError
from ftjax.freezing.plan.plan import make_plan
from ftjax.models.registry import build
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.preprocessing.images import Preprocessing
from ftjax.tasks.registry import task_of
from ftjax.training.loop import step_runner
from ftjax.training.loop.fisher import diagonal_fisher
from ftjax.training.loop.fit import fit
from ftjax.training.settings import TrainSettings
from ftjax.training.step.run_spec import RunSpec

TASK = task_of('segmentation')
SIZES = {'image_size': 8, 'patch_size': 2, 'width': 8, 'depth': 3, 'heads': 2, 'num_classes': 3}
NETWORKS = {
    head: build('vit', {**SIZES, 'head': head, 'pool': 'mean'}) for head in ('linear', 'fpn:8')
}
CONVNEXT = build(
    'convnext',
    {
        'depths': (1, 1, 1),
        'widths': (8, 12, 16),
        'patch_size': 2,
        'image_size': 8,
        'num_classes': 3,
        'head': 'fpn:8',
        'layer_scale': 1.0,
    },
)
EIGHT = Preprocessing(image_size=(8, 8))


DATA = splits(blocks, 32, 10, 8)


def spec(head='linear', freeze='last:1', augment='none', optimizer=None, **train):
    network = NETWORKS[head]
    variables = jax.device_get(initial(network))
    return RunSpec(
        network,
        variables,
        make_plan(freeze, network, variables),
        DATA,
        optimizer=OptimizerSettings(learning_rate=1e-2, **(optimizer or {})),
        settings=TrainSettings(**{'steps': 8, 'eval_every': 1.0, **train}),
        preprocessing=EIGHT,
        batch_size=8,
        eval_batch_size=8,
        augmentation=augment,
    )


def losses(result):
    return [(row['train_loss'], row['val_loss'], row['val_miou']) for row in result.history]


@pytest.mark.slow
def test_a_head_learns_and_nothing_else_moves():
    result = fit(spec('fpn:8', 'full', steps=24, eval_every=2.0), progress=False)
    rows = losses(result)
    assert rows[-1][0] < 0.7 * rows[0][0] and rows[-1][2] > 0.3
    assert result.verification.trainable_changed and not result.verification.still_trainable
    still = fit(spec('linear', 'head'), progress=False)
    assert still.verification.frozen_unchanged and not still.verification.still_trainable


@pytest.mark.slow
@pytest.mark.parametrize('augment', ['none', 'flip,pad_crop:1'])
def test_accumulation_in_parts_gives_the_loss_of_the_whole_batch(augment):
    """Though the parts count different numbers of pixels."""
    runs = [
        losses(fit(spec('fpn:8', 'full', augment, {'accumulate': parts}), progress=False))
        for parts in (1, 2, 4)
    ]
    np.testing.assert_allclose(runs[1], runs[0], rtol=2e-4)
    np.testing.assert_allclose(runs[2], runs[0], rtol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize('head', ['linear', 'fpn:8'])
def test_stored_features_with_their_taps_give_the_same_run(head):
    plain = fit(spec(head, 'last:1', cache='off'), progress=False)
    stored = fit(spec(head, 'last:1', cache='on'), progress=False)
    assert any('features stored' in line for line in stored.cache)
    np.testing.assert_allclose(losses(stored), losses(plain), rtol=1e-5)


def test_images_without_a_counted_pixel_leave_the_fisher_information_as_it_is():
    real, blank = DATA.train.take([0, 1]), masks([MaskPixels(np.full((8, 8), 255, np.uint8))])
    none = dataclasses.replace(DATA.train.take([2]), labels=blank)

    def fisher(train):
        data = dataclasses.replace(DATA, train=train)
        return diagonal_fisher(dataclasses.replace(spec(freeze='head'), data=data), 8)

    found, wanted = fisher(joined(real, none)), fisher(real)
    for path, values in wanted.items():
        assert values.any()
        np.testing.assert_allclose(found[path], values, rtol=1e-5, err_msg=path)


@pytest.mark.slow
def test_stages_that_are_run_again_give_the_same_run():
    plain, again = (fit(spec('fpn:8', 'full', remat=on), progress=False) for on in (False, True))
    np.testing.assert_allclose(losses(again), losses(plain), rtol=1e-4)


@pytest.mark.slow
def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    given = spec('fpn:8', 'last:1', 'flip,pad_crop:1', steps_per_call=1)
    whole = fit(given, progress=False)
    rates, calls = step_runner.leaf_rates, []

    def stopping(*arguments):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return rates(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(step_runner, 'leaf_rates', stopping)
        with pytest.raises(Interrupted):
            fit(given, tmp_path, progress=False)
    rest = fit(given, tmp_path, progress=False)
    assert losses(rest) == losses(whole)
    jax.tree.map(np.testing.assert_array_equal, rest.variables, whole.variables)


def test_views_of_images_are_not_stored_without_their_masks():
    with pytest.raises(UserError, match='labels move with the images'):
        fit(spec('linear', 'head', 'flip', cache='on', cache_views=2), progress=False)


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize('network', [*NETWORKS.values(), CONVNEXT], ids=['linear', 'fpn', 'maps'])
def test_loss_and_gradients_are_those_of_torch(network):
    """The last norm and the head in PyTorch, on the features that reach them."""
    import torch

    variables = jax.device_get(initial(network))
    images = (DATA.train.inputs[:4].astype(np.float32) / 255 - 0.5) / 0.5
    labels = np.stack([each.read() for each in DATA.train.labels[:4]])
    state = network.apply(variables, jnp.asarray(images), stop='norm')

    def ours(params, state):
        outputs = network.apply({'params': params}, state, start='norm')
        total, weight = TASK.loss(outputs, {'labels': labels, 'mask': np.ones(4, np.float32)})
        return total / weight

    def tensor(leaf):
        return torch.tensor(np.array(leaf), requires_grad=True)

    own = {name: variables['params'][name] for name in ('norm', 'head')}
    loss, grads = jax.value_and_grad(ours, argnums=(0, 1))(own, state)
    params, given = jax.tree.map(tensor, (own, dict(state)))

    def norm(x, leaf):
        return torch.nn.functional.layer_norm(x, x.shape[-1:], leaf['scale'], leaf['bias'], 1e-6)

    def dense(x, leaf):
        return x @ leaf['kernel'] + leaf['bias']

    def large(x, size):
        x = x.permute(0, 3, 1, 2)
        shape = {'size': size, 'mode': 'bilinear', 'align_corners': False}
        return torch.nn.functional.interpolate(x, **shape).permute(0, 2, 3, 1)

    last, head = norm(given['hidden'], params['norm']['norm']), params['head']
    if last.ndim == 3:
        side = SIZES['image_size'] // SIZES['patch_size']
        last = last[:, -side * side :].reshape(4, side, side, -1)
    if 'pixel_map_0' in head:
        taps = sum(name.startswith('tap_') for name in given)
        maps = [norm(given[f'tap_{n}'], head[f'pixel_norm_{n}']) for n in range(taps)] + [last]
        maps = [dense(x, head[f'pixel_map_{n}']) for n, x in enumerate(maps)]
        last = torch.relu(sum(large(x, maps[0].shape[1:3]) for x in maps))
    logits = large(dense(last, head['pixel_logits']), (8, 8))
    expected = torch.nn.functional.cross_entropy(
        logits.permute(0, 3, 1, 2), torch.tensor(labels.astype(np.int64)), ignore_index=255
    )
    expected.backward()
    assert float(loss) == pytest.approx(expected.item(), rel=1e-5)

    def close(ours, theirs):
        np.testing.assert_allclose(ours, theirs.grad.numpy(), atol=1e-6)

    jax.tree.map(close, grads[0], params)
    jax.tree.map(close, dict(grads[1]), given)
