"""A language model's step on 8 virtual devices: what a device takes, and the gradients.

python vocabulary_step.py GRADIENTS.npz prints the bytes and the loss as JSON.
"""

import json
import sys

import jax
import numpy as np
from collectives import collectives

from ftjax.distributed.sharding import Sharding
from ftjax.freezing.plan.plan import make_plan
from ftjax.models.registry import build
from ftjax.pretrained.initialise import random_variables
from ftjax.training.cost.cost import compile_step
from ftjax.training.cost.traffic import traffic
from ftjax.training.settings import TrainSettings
from ftjax.training.step.phase_state import PhaseState
from ftjax.training.step.run_spec import RunSpec

BATCH, TIME, WIDTH, VOCABULARY = 8, 64, 128, 32768


def spec_of(mesh, **sizes):
    """A Llama of one block whose head and embeddings are nearly all of its leaves."""
    sizes = {'width': WIDTH, 'vocab_size': VOCABULARY, 'mlp_dim': 128, **sizes}
    net = build('llama', {**sizes, 'depth': 1, 'heads': 2, 'head': 'lm', 'tied': False})
    variables = random_variables(net, 0)
    return RunSpec(
        net,
        variables,
        make_plan('full', net, variables, head_is_new=False),
        sharding=Sharding.of(mesh),
        batch_size=BATCH,
        settings=TrainSettings(steps=1, remat=True),
        task_without_data='causal_lm',
    )


def batch_of(spec):
    ids = np.random.default_rng(0).integers(0, spec.network.vocab_size, (BATCH, TIME))
    ids = ids.astype(np.int32)
    following = np.roll(ids, -1, axis=1)
    return {
        'inputs': {'input_ids': ids, 'attention_mask': np.ones_like(ids), 'targets': following},
        'labels': np.stack([following, following], axis=-1),
        'mask': np.ones(ids.shape, np.float32),
    }


def gradients(spec):
    """(loss, gradients) of the first step."""
    state = PhaseState(spec)
    state.enter(0)
    step = spec.train_step(spec.plan.at(0))
    rates = np.ones(len(state.phase.trainable), np.float32)
    batch = spec.sharding.batch(batch_of(spec))
    (loss, _), found = jax.jit(step.gradients)(state.state, state.frozen, batch, rates)
    return float(loss), jax.device_get(found)


def taken(spec):
    """Bytes of a device, and what is summed and gathered whole, by the compiled program."""
    spec.__dict__['batch_shapes'] = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), batch_of(spec)
    )
    compiled = compile_step(spec, spec.plan.at(0))
    told = traffic(spec, spec.plan.at(0))
    return {
        'temporary': int(compiled.memory_analysis().temp_size_in_bytes),
        'leaves': sum(x.nbytes for x in jax.tree.leaves(spec.variables['params'])),
        'largest': max(size for _, size in collectives(compiled.as_text())),
        'told': [told.forward, told.backward, told.largest_stage],
    }


if __name__ == '__main__':
    loss, found = gradients(spec_of({'data': 2, 'fsdp': 4}, width=16, vocab_size=100))
    np.savez(sys.argv[1], **found)
    print(json.dumps({'loss': loss, **taken(spec_of({'fsdp': 8}))}))
