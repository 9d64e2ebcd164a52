"""GPS beside its definition: the contrastive gradient of torch-free NumPy, and what it opens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from test_every_strategy import prepared_for
from tiny_networks import batch_of, network

from ftjax.errors import UserError
from ftjax.freezing.anatomy import Anatomy
from ftjax.leaves import flatten
from ftjax.runs.run import train
from ftjax.runs.run_spec import run_spec
from ftjax.tasks import task_of
from ftjax.training.loop.data_probe import ContrastiveGradients, DataProbe
from ftjax.training.step.phase_state import PhaseState


def by_hand(vectors, classes, temperature):
    """The mean over anchors with a mate, in loops."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    losses = []
    for i, anchor in enumerate(unit):
        others = [j for j in range(len(unit)) if j != i]
        scores = {j: float(anchor @ unit[j]) / temperature for j in others}
        whole = np.log(sum(np.exp(score) for score in scores.values()))
        mates = [j for j in others if classes[j] == classes[i]]
        if mates:
            losses.append(-np.mean([scores[j] - whole for j in mates]))
    return float(np.mean(losses))


def test_the_contrastive_loss_of_what_reaches_the_head():
    net, variables = network('vit')
    batch = batch_of(net, 5)  # classes 0 1 2 0 1: one alone
    loss = ContrastiveGradients(net, task_of('classification'), None, None, temperature=0.5)
    params = flatten(variables['params'])
    (features,) = jax.tree.leaves(net.apply(variables, batch['inputs'], stop='head'))
    features = np.asarray(features, np.float64)
    wanted = by_hand(features, np.asarray(batch['labels']), 0.5)
    assert float(loss.loss(params, {}, {}, batch)) == pytest.approx(wanted, rel=1e-4)
    padded = {**batch, 'mask': jnp.asarray([1.0, 1, 1, 1, 0])}  # then two are alone
    wanted = by_hand(features[:4], np.asarray(batch['labels'])[:4], 0.5)
    assert float(loss.loss(params, {}, {}, padded)) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize(
    ('name', 'k'), [('vit', 2), pytest.param('batch_norm', 3, marks=pytest.mark.slow)]
)
def test_of_every_neuron_so_many_inputs_train(name, k):
    prepared = prepared_for(name, f'gps:{k}')
    net = Anatomy.of(prepared.network, prepared.variables)
    probe = DataProbe(entered(prepared), 0, len)
    sums = {}
    for gradients in probe.contrastive_gradients(1.0, 0.07):
        for path, gradient in gradients.items():
            sums[path] = sums.get(path, 0.0) + np.float64(gradient)
    assert not any(sums[path].any() for path in net.head)
    result, summary = train(prepared, progress=False)
    old = flatten_dict(prepared.variables['params'], sep='/')
    new = flatten_dict(result.variables['params'], sep='/')
    kernels = 0
    for path in sorted(net.leaves - net.head):
        moved = np.asarray(old[path]) != np.asarray(new[path])
        if path in net.norms or not path.endswith(('/kernel', '/bias')):
            assert not moved.any(), path
        elif path.endswith('/kernel'):
            flat = moved.reshape(-1, moved.shape[-1])
            assert (flat.sum(axis=0) == min(k, len(flat))).all(), path
            values = np.abs(sums[path]).reshape(flat.shape)
            for neuron in range(flat.shape[1]):
                inside, outside = values[flat[:, neuron], neuron], values[~flat[:, neuron], neuron]
                assert not outside.size or inside.min() >= outside.max()
            kernels += 1
    assert kernels > 3 and summary['frozen_unchanged']


def entered(prepared):
    state = PhaseState(run_spec(prepared))
    state.enter(0)
    return state


def test_a_batch_of_different_classes_alone_is_refused():
    prepared = prepared_for('vit', 'gps:1')
    spec = run_spec(prepared)
    probe = DataProbe(entered(prepared), 0, len)
    probe.stream = lambda size=None: spec.stream_of(0, 1, augmented=False)
    with pytest.raises(UserError, match='a class twice in a batch'):
        list(probe.contrastive_gradients(1.0, 0.07))
