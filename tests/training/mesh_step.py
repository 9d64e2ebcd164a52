"""Compiles a step on 8 virtual devices for shapes alone; prints what a device of it takes.

python mesh_step.py '{"depth": 8, "fsdp": 8, "freeze": "full", "remat": true}' ..
"""

import json
import sys

import jax
import numpy as np

from ftjax.distributed.sharding import Sharding
from ftjax.freezing.plan.plan import make_plan
from ftjax.leaves import flatten
from ftjax.models.registry import build
from ftjax.training.cost.cost import compile_step
from ftjax.training.settings import TrainSettings
from ftjax.training.step.run_spec import RunSpec


def measured(depth, fsdp, freeze, remat, rules=()):
    """Bytes: arguments and temporary memory of a device, leaves of a block and of all."""
    sizes = {'patch_size': 4, 'image_size': 16, 'width': 128, 'heads': 4, 'num_classes': 10}
    net = build('vit', {**sizes, 'depth': depth})
    variables = jax.eval_shape(lambda: net.init(jax.random.key(0), net.example_input(1)))
    spec = RunSpec(
        net,
        variables,
        make_plan(freeze, net, variables),
        sharding=Sharding.of({'fsdp': fsdp} if fsdp > 1 else {}, rules),
        batch_size=32,
        settings=TrainSettings(steps=1, remat=remat),
    )
    memory = compile_step(spec, spec.plan.at(0)).memory_analysis()
    params = variables['params']

    def size(tree):
        return sum(4 * int(np.prod(x.shape)) for x in jax.tree.leaves(tree))

    return {
        'arguments': int(memory.argument_size_in_bytes),
        'temporary': int(memory.temp_size_in_bytes),
        'block': size(params['block_00']),
        'share': sum(
            4 * int(np.prod(spec.sharding.sharding(f'block_00/{p}', x.shape).shard_shape(x.shape)))
            for p, x in flatten(params['block_00']).items()
        ),
        'leaves': size(params),
        'passed_on': 32 // 8 * 17 * 128 * 4,
    }


if __name__ == '__main__':
    print(json.dumps([measured(**json.loads(case)) for case in sys.argv[1:]]))
