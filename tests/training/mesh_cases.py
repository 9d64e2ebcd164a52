"""Runs cases of tests/training/test_many_devices.py in a process of its own; prints JSON.

python mesh_cases.py CASES.json [COORDINATOR COUNT INDEX]
"""

import dataclasses
import json
import pathlib
import sys

import jax
import numpy as np
from collectives import collectives
from flax.traverse_util import flatten_dict
from tiny_runs import EIGHT, blocks, initial, noise, splits

from ftjax.distributed import initialize
from ftjax.distributed.sharding import Sharding
from ftjax.freezing.plan.plan import as_settings, make_plan
from ftjax.freezing.run_length import RunLength
from ftjax.freezing.strategies.adapters import with_adapters
from ftjax.models.registry import build
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.optim.schedule import ScheduleSettings
from ftjax.training.cost.traffic import traffic
from ftjax.training.loop import fit as fit_module
from ftjax.training.loop import step_runner
from ftjax.training.loop.fit import fit
from ftjax.training.settings import TrainSettings
from ftjax.training.step.run_spec import RunSpec

NETWORKS = {
    'vit': ('vit', {'patch_size': 4, 'width': 32, 'depth': 2, 'heads': 2}),
    'resnet': ('resnet_bn_cifar', {'depth': 8, 'width': 4}),
    'dense': ('vit', {'patch_size': 2, 'width': 32, 'depth': 2, 'heads': 2, 'head': 'fpn:8'}),
}


DATA = splits(noise, 64, 27, 9)
MASKED = splits(blocks, 64, 27, 9)


def compiled_with(program, seen, spec):
    """`program` that notes what the training step exchanges and what a device holds of it."""

    def noted(function, *arguments, **options):
        made = program(function, *arguments, **options)
        state, frozen, batch, *_ = arguments
        seen['collectives'] = collectives(made.call.as_text())
        leaves = jax.tree.leaves((state.trainable, state.opt_state, state.ema))
        seen['state_bytes'] = sum(x.nbytes for x in leaves)
        seen['state_bytes_per_device'] = on_a_device(leaves)
        leaves += jax.tree.leaves(frozen.params)
        seen['held_bytes'] = sum(x.nbytes for x in leaves)
        seen['held_bytes_per_device'] = on_a_device(leaves)
        seen['traffic'] = dataclasses.asdict(traffic(spec, spec.plan.phases[-1]))
        seen['trainable_bytes'] = [x.nbytes for x in state.trainable.values()]
        seen['rows'] = batch['labels'].addressable_shards[0].data.shape[1]
        return made

    return noted


def on_a_device(leaves):
    return sum(x.addressable_shards[0].data.nbytes for x in leaves)


def run(case):
    """One fit: what must not depend on the devices, and what shows that they were used."""
    sharding = Sharding.of(case.get('mesh', {}), case.get('rules', ()))
    family, options = NETWORKS[case.get('network', 'vit')]
    net = build(family, {**options, 'image_size': 8, 'num_classes': 3})
    variables = jax.device_get(initial(net))
    freeze = as_settings(case.get('freeze', 'full'))
    network, variables = with_adapters(freeze, net, variables, 0)
    plan = make_plan(freeze, network, variables, run_length=RunLength(20, 4))
    settings = {'learning_rate': 1e-3, 'weight_decay': 0.1, 'clip_norm': 1.0, 'ema': 0.5}
    train = {'steps': 20, 'eval_every': 0.25, 'cache': 'off', **case.get('train', {})}
    spec = RunSpec(
        network,
        variables,
        plan,
        MASKED if network.is_dense else DATA,
        optimizer=OptimizerSettings(**{**settings, **case.get('optimizer', {})}),
        schedule=ScheduleSettings(name='constant', warmup=0.0),
        settings=TrainSettings(**train),
        preprocessing=EIGHT,  # without one no image is augmented
        batch_size=16,
        eval_batch_size=9,
        augmentation=case.get('augment', 'flip'),
        sharding=sharding,
    )
    seen, orders = {}, []
    program, steps = step_runner.program, fit_module.StepRunner.judge

    def judge(self, found, group, *rest):
        orders.extend(batch['index'].tolist() for batch in group)
        return steps(self, found, group, *rest)

    step_runner.program, fit_module.StepRunner.judge = compiled_with(program, seen, spec), judge
    try:
        result = fit(spec, workdir=case.get('workdir'), progress=False)
    finally:
        step_runner.program, fit_module.StepRunner.judge = program, steps
    flat = flatten_dict(dict(result.variables['params']), sep='/')
    began = flatten_dict(dict(variables['params']), sep='/')
    if case.get('leaves'):  # of one step at rate 1: the gradient
        seen['moved'] = {p: np.subtract(flat[p], began[p]).ravel().tolist() for p in sorted(flat)}
    return {
        'losses': [row['train_loss'] for row in result.history],
        'scores': [row['val_loss'] for row in result.history],
        'norm': float(np.sqrt(sum(np.square(np.float64(x)).sum() for x in flat.values()))),
        'steps': result.steps,
        'unchanged': result.verification.frozen_unchanged,
        'changed': result.verification.trainable_changed,
        'orders': orders,
        'cache': list(result.cache),
        'trained': sorted(plan.trained),
        **seen,
    }


def main():
    given = sys.argv[2:]
    if given:
        assert initialize.start(given[0], int(given[1]), int(given[2]))
    found = [run(case) for case in json.loads(pathlib.Path(sys.argv[1]).read_text())]
    print(json.dumps({'devices': jax.device_count(), 'found': found}))


if __name__ == '__main__':
    main()
