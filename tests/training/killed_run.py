"""A tiny run of several processes, for tests/training/test_killed_hosts.py to kill.

python killed_run.py --workdir=FOLDER --coordinator=HOST:PORT --count=2 --index=0

Leaves lie in parts over the devices of all processes, so each writes what only it holds. The first
process writes FOLDER/end.npz: the weights of the end.
"""

import pathlib
from unittest import mock

import jax
import numpy as np
from absl import flags
from tiny_runs import initial, noise, splits

from ftjax.cli import launch
from ftjax.distributed import initialize
from ftjax.distributed.process_group import first, wait
from ftjax.distributed.sharding import Sharding
from ftjax.freezing import make_plan
from ftjax.freezing.run_length import RunLength
from ftjax.leaves import flatten
from ftjax.models.registry import build
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.training.loop.fit import fit
from ftjax.training.settings import TrainSettings
from ftjax.training.step.run_spec import RunSpec

WORKDIR = launch.define_workdir()
COORDINATOR = flags.DEFINE_string('coordinator', None, 'HOST:PORT of the first process.')
COUNT = flags.DEFINE_integer('count', None, 'Processes.')
INDEX = flags.DEFINE_integer('index', None, 'Of this one.')
SIZES = {'image_size': 8, 'patch_size': 4, 'width': 16, 'depth': 2, 'heads': 2, 'num_classes': 3}
STEPS = 16
HEARTBEAT, JOIN = 20, 60
"""Seconds in place of minutes, after which a process that is gone is given up."""


def main():
    initialize.HEARTBEAT, initialize.JOIN = HEARTBEAT, JOIN
    keep_programs_of_all_processes()
    launch.join_processes(COORDINATOR.value, COUNT.value, INDEX.value)
    network, folder = build('vit', SIZES), pathlib.Path(WORKDIR.value)
    variables = jax.device_get(initial(network))
    sharding = Sharding.of({'fsdp': jax.device_count()})
    plan = make_plan('last:1', network, variables, run_length=RunLength(STEPS, 4))
    frozen = {p: x.shape for p, x in flatten(variables['params']).items() if p not in plan.trained}
    in_parts = [p for p, shape in frozen.items() if sharding.sharding(p, shape) != sharding.whole]
    assert in_parts == ['block_00/mlp/fc1/kernel', 'block_00/mlp/fc2/kernel'], in_parts
    spec = RunSpec(
        network,
        variables,
        plan,
        splits(noise, 64, 9, 9),
        optimizer=OptimizerSettings(learning_rate=1e-2, weight_decay=0.1, clip_norm=1.0, ema=0.5),
        settings=TrainSettings(steps=STEPS, eval_every=0.5, cache='off'),
        batch_size=16,
        eval_batch_size=9,
        sharding=sharding,
    )
    result = fit(spec, workdir=folder, progress=False)
    assert result.verification.frozen_unchanged
    if first():
        np.savez(folder / 'half.npz', **flatten(dict(result.variables['params'])))
        (folder / 'half.npz').rename(folder / 'end.npz')
    wait('end')  # who ended now would take the first one along


def keep_programs_of_all_processes():
    """JAX keeps those of the first alone; on a CPU the others' have keys of their own."""
    from jax._src import compiler, distributed

    write = compiler._cache_write

    def as_first(*arguments):
        with mock.patch.object(distributed.global_state, 'process_id', 0):
            write(*arguments)

    compiler._cache_write = as_first


if __name__ == '__main__':
    launch.run(main)
