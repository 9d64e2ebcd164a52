"""Folders of finished runs, as training leaves them, made from the golden checkpoints."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file

from ftjax.freezing.partition import combine, partition
from ftjax.freezing.plan.plan import as_settings, make_plan
from ftjax.freezing.strategies.adapters import with_adapters
from ftjax.pretrained.open import load_pretrained
from ftjax.pretrained.own_format import save_own, write_json
from ftjax.tasks import evaluate

GOLDENS = pathlib.Path(__file__).parents[1] / 'pretrained' / 'goldens'
NAMES = ('ant', 'bee', 'cat')


def inputs_of(golden):
    """The golden's inputs: an array of images, or a dict of tokens."""
    arrays = load_file(GOLDENS / golden / 'reference.safetensors')
    if 'inputs' in arrays:
        return arrays['inputs']
    return {name.partition('/')[2]: a for name, a in arrays.items() if name.startswith('inputs/')}


def trained(network, variables, plan, inputs, steps=3):
    """A few SGD steps on what the plan trains, towards labels 0, 1, 2."""
    trainable, frozen = partition(variables['params'], plan.at(0))

    @jax.jit
    def step(trainable):
        def loss(trainable):
            logits = network.apply({**variables, 'params': combine(trainable, frozen)}, inputs)
            return -jax.nn.log_softmax(logits)[jnp.arange(3), jnp.arange(3)].mean()

        return jax.tree.map(lambda p, g: p - 0.5 * g, trainable, jax.grad(loss)(trainable))

    for _ in range(steps):
        trainable = step(trainable)
    return {**variables, 'params': combine(trainable, frozen)}


def shaken(network, variables, plan, inputs):
    """Other values in what the plan trains: adapters start where they change nothing."""
    del network, inputs
    random = np.random.default_rng(0)
    trainable, frozen = partition(variables['params'], plan.at(0))
    trainable = jax.tree.map(
        lambda leaf: leaf + 0.1 * jnp.asarray(random.normal(size=leaf.shape), leaf.dtype), trainable
    )
    return {**variables, 'params': combine(trainable, frozen)}


def make_run(folder, golden, strategy, train=shaken, init=None):
    """A finished run's folder, as training leaves it; returns the network and its variables."""
    init, inputs = str(init or GOLDENS / golden / 'model'), inputs_of(golden)
    found = load_pretrained(init, num_classes=len(NAMES), class_names=NAMES, head='new')
    network, variables = with_adapters(as_settings(strategy), found.network, found.variables)
    plan = make_plan(strategy, network, variables)
    variables = train(network, variables, plan, inputs)
    logits = np.asarray(network.apply(variables, inputs))
    phase = plan.at(0)
    preprocessing = found.preprocessing
    if getattr(preprocessing, 'resize', '') == 'crop' and len(set(preprocessing.image_size)) > 1:
        # The image processors of transformers crop to squares only.
        preprocessing = dataclasses.replace(preprocessing, resize='squash')
    save_own(folder / 'model', network, variables, preprocessing, NAMES)
    write_json(folder / 'config.json', {'init': init, 'seed': 4, 'data': {'source': 'npz:x.npz'}})
    write_json(folder / 'plan.json', plan.to_json())
    result = {
        'metrics': evaluate(logits, np.arange(3), class_names=NAMES),
        'strategy': plan.strategy,
        'params_total': phase.size(),
        'params_trainable': phase.size(trainable_only=True),
        'data_fingerprint': 'f1a2',
        'versions': {'jax': '0.0.1'},
        'provenance': {'command': 'python scripts/train.py --workdir=x'},
    }
    write_json(folder / 'result.json', result)
    return network, variables
