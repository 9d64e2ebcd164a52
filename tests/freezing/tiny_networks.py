"""Tiny networks of images and of texts, and what the catalogue's masks train in them."""

import functools

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from ftjax.models.registry import build
from ftjax.optim.optimizer import OptimizerSettings, make_optimizer
from ftjax.tasks import task_of
from ftjax.training.step.state import make_state, variables_of
from ftjax.training.step.train_step import TrainStep

NETWORKS = {
    'vit': ('vit', {'image_size': 8, 'patch_size': 4, 'width': 8, 'depth': 3, 'heads': 2}),
    'batch_norm': ('resnet_bn_cifar', {'depth': 8, 'width': 4, 'image_size': 8}),
    'group_norm': ('resnet_gn_cifar', {'depth': 8, 'width': 8, 'image_size': 8}),
}
WORDS = (
    '[PAD]',
    '[UNK]',
    '[CLS]',
    '[SEP]',
    '[MASK]',
    'a',
    'film',
    'not',
    'good',
    'bad',
    'at',
    'all',
)
SMALL = {'vocab_size': len(WORDS), 'width': 8, 'depth': 3, 'heads': 2, 'mlp_dim': 12}
TEXT_NETWORKS = {
    'bert': ('bert', {**SMALL, 'max_positions': 8, 'dropout': 0.0, 'head_dropout': 0.0}),
    'gpt2': ('gpt2', {**SMALL, 'max_positions': 8, 'dropout': 0.0}),
    'llama': ('llama', {**SMALL, 'kv_heads': 1}),
}
DECODERS = {'decoder': ('gpt2', {**SMALL, 'max_positions': 8, 'head': 'lm', 'tied': False})}
EVERYTHING = OptimizerSettings(
    learning_rate=0.1, weight_decay=0.3, clip_norm=0.5, accumulate=2, ema=0.9
)


@functools.cache
def network(name):
    family, options = {**NETWORKS, **TEXT_NETWORKS, **DECODERS}[name]
    classes = {} if name in DECODERS else {'num_classes': 3}
    net = build(family, {**options, **classes})
    variables = jax.jit(net.init)(jax.random.key(0), net.example_input())
    # Zeros and ones would hide a leaf that decays or moves: give every leaf numbers of its own.
    leaves, tree = jax.tree.flatten(variables)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [x + 0.1 * jax.random.uniform(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    return net, jax.tree.unflatten(tree, noisy)


def batch_of(net, size=4):
    inputs = jax.random.normal(jax.random.key(2), net.example_input(size).shape)
    return {
        'inputs': inputs,
        'labels': jnp.arange(size, dtype=jnp.int32) % 3,
        'mask': jnp.ones(size),
    }


def take_steps(net, variables, phase, settings, count=2):
    optimizer = make_optimizer(phase, settings)
    state, frozen = make_state(variables, phase, optimizer, settings.ema)
    step = jax.jit(
        TrainStep(
            network=net, phase=phase.program, optimizer=settings, task=task_of('classification')
        )
    )
    rates = settings.learning_rate * jnp.asarray(phase.multipliers, jnp.float32)
    for _ in range(count):
        state, metrics = step(state, frozen, batch_of(net), rates)
    return variables_of(state, frozen), metrics


def expected(net, variables, strategy):
    """Which leaves the catalogue's definition trains, written down without the code's help."""
    paths = list(flatten_dict(variables['params'], sep='/'))
    blocks, stages = net.blocks, net.stages

    def of(*names):
        return {p for p in paths if p.split('/')[0] in names}

    head = of('head')
    name, _, k = strategy.partition(':')
    low, _, high = k.partition('-')
    k = int(low or 0)
    after = stages[stages.index(blocks[-1]) + 1 :]
    before = stages[: stages.index(blocks[0])]
    match name:
        case 'full':
            return set(paths)
        case 'head':
            return head
        case 'last':
            return of(*blocks[-k:], *after)
        case 'first':
            return of(*before, *blocks[:k]) | head
        case 'freeze_bottom':
            return of(*blocks[k:], *after)
        case 'block':
            return of(*(before if k == 1 else ()), blocks[k - 1]) | head
        case 'blocks':
            return of(*blocks[k : int(high) + 1]) | head
        case 'mlp_in':
            into = ('/mlp/fc1/', '/mlp/gate/', '/mlp/up/')
            return {p for p in paths if any(name in p for name in into)} | head
        case 'attention_proj':
            parts = ('query', 'key', 'value', 'out')
            found = {p for p in paths if '/attn/' in p and p.split('/')[-2] in parts}
            return found | head
        case 'bitfit':
            return {p for p in paths if p.endswith('/bias')} | head
        case 'norm':
            parts = {p for p in paths if any('norm' in x for x in p.split('/')[-2:-1])}
            return parts | head
        case 'freeze_embed':
            return set(paths) - of(*before)
        case 'attention':
            tables = {p for p in paths if 'pos_embed' in p or 'position' in p}
            return {p for p in paths if '/attn/' in p} | tables | head
        case _:
            return {p for p in paths if '/mlp/' in p} | head
