"""Compiles a step on 8 virtual devices under each placement of frozen leaves; prints JSON.

python mesh_choices.py STRATEGY: by placement, what the plan says and what the program takes.
"""

import dataclasses
import json
import sys

import jax
from collectives import collectives

from ftjax.distributed.sharding import Sharding
from ftjax.freezing.plan.plan import make_plan
from ftjax.models.registry import build
from ftjax.training.cost.cost import compile_step
from ftjax.training.cost.traffic import placements, traffic
from ftjax.training.settings import TrainSettings
from ftjax.training.step.run_spec import RunSpec

SIZES = {'patch_size': 4, 'image_size': 8, 'width': 64, 'depth': 3, 'heads': 2, 'num_classes': 3}


def main():
    net = build('vit', SIZES)
    variables = jax.eval_shape(lambda: net.init(jax.random.key(0), net.example_input(1)))
    plan = make_plan(sys.argv[1], net, variables)
    sharding = Sharding.of({'data': 2, 'fsdp': 4})
    spec = RunSpec(
        *(net, variables, plan),
        sharding=sharding,
        batch_size=16,
        settings=TrainSettings(steps=1),
    )
    phase, found = plan.at(0), {}
    for name, placed in placements(spec, phase).items():
        own = dataclasses.replace(spec, sharding=placed)
        compiled, sizes = compile_step(own, phase), {}
        for kind, size in collectives(compiled.as_text()):
            sizes[kind] = sizes.get(kind, 0) + size
        batch = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(own.batch_shapes))
        found[name] = {
            'told': dataclasses.asdict(traffic(own, phase)),
            'arguments': int(compiled.memory_analysis().argument_size_in_bytes),
            'batch': batch // sharding.devices,
            'collectives': sizes,
        }
    print(json.dumps(found))


if __name__ == '__main__':
    main()
