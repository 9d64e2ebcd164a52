"""Every strategy on networks of images and of texts, through a whole run with everything on."""

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from tiny_networks import NETWORKS, TEXT_NETWORKS, WORDS, expected, network

from ftjax.config import read_config
from ftjax.data import Dataset, Splits
from ftjax.errors import UserError
from ftjax.freezing.plan.plan import make_plan
from ftjax.freezing.registry import catalogue, parse_term
from ftjax.freezing.run_length import RunLength
from ftjax.freezing.strategies.adapters import with_adapters
from ftjax.preprocessing.texts import text_preprocessing
from ftjax.runs.prepare import Prepared
from ftjax.runs.run import train

# Arguments that make something happen within 12 steps; all others run as they are listed.
SHORT = {
    'autofreeze': 'autofreeze:3',
    'lisa': 'lisa:1,4',
    'reinit_top': 'reinit_top:1',
    'rifle': 'rifle:3,1',
    'subtuning': 'subtuning:0.01,2,1',
    'soup_uniform': 'soup_uniform:2',
    'soup_greedy': 'soup_greedy:2',
    'fisher_mask': 'fisher_mask:0.05,8',
    'random_mask': 'random_mask:0.05',
    'auto_snr_paper': 'auto_snr_paper:8',
    'oft': 'oft:4',
    'loraplus': 'lora:2+loraplus:16',
    'blocks': 'blocks:1-2',
    'badam': 'badam:4',
    'ewc': 'ewc:1',
    'gps': 'gps:2',
}
STRATEGIES = [SHORT.get(name, found.example) for name, found in sorted(catalogue().items())]
TRANSFORMERS_ONLY = (
    *('attention', 'attention_proj', 'mlp', 'mlp_in'),
    *('lora', 'rslora', 'dora', 'oft', 'ia3', 'prompt', 'prompt_deep'),
)
STATISTICS_FROZEN = ('lp_ft', 'auto_rgn', 'auto_snr_code', 'auto_snr_paper', 'block')
RUN_LENGTH = RunLength(12, 2)
SETTINGS = {
    'optimizer': {
        'learning_rate': 0.02,
        'weight_decay': 0.3,
        'clip_norm': 0.5,
        'accumulate': 2,
        'ema': 0.9,
    },
    'schedule': {'name': 'constant', 'warmup': 0.0},
    'train': {'steps': 12, 'eval_every': 3.0, 'keep': 'last', 'steps_per_call': 2},
    'data': {'batch_size': 8, 'eval_batch_size': 8},
}


def data_for(net):
    """16, 6 and 6 random images, or sentences of 2 to 6 words, of 3 classes."""
    draw = np.random.default_rng(0)
    is_text = net.vocab_size is not None

    def inputs(count):
        if is_text:
            return [' '.join(draw.choice(WORDS[5:], size=2 + i % 5)) for i in range(count)]
        return draw.random((count, *net.example_input().shape[1:]), np.float32)

    def split(name, count):
        return Dataset(
            name=name,
            kind='text' if is_text else 'image',
            inputs=inputs(count),
            labels=np.arange(count) % 3,
            class_names=('a', 'b', 'c'),
        )

    return Splits(train=split('train', 16), val=split('val', 6), test=split('test', 6))


def prepared_for(name, strategy, tokenizer=None):
    """A run of a strategy on a tiny network, decay on vectors too so that all leaves move."""
    net, variables = network(name)
    config = read_config({**SETTINGS, 'freeze': {'strategy': strategy, 'decay_vectors': True}})
    data = data_for(net)
    preprocessing = text_preprocessing(net, tokenizer) if data.train.kind == 'text' else None
    net, variables = with_adapters(config.freeze, net, variables)
    plan = make_plan(config.freeze, net, variables, run_length=RUN_LENGTH)
    # LoRA's B, a scale of 1 or a new bias would hide decay: added leaves get numbers as well.
    draw = np.random.default_rng(1)
    variables = jax.tree.map_with_path(
        lambda path, x: (
            np.asarray(x) + 0.05 * draw.random(x.shape, np.float32)
            if net.is_adapter_leaf('/'.join(k.key for k in path[1:]))
            else x
        ),
        variables,
    )
    shapes = flatten_dict(variables['params'], sep='/')
    known = {p: draw.random(x.shape, np.float32) for p, x in shapes.items()}
    importance = known if plan.reads_importance else {}
    return Prepared(config, data, net, variables, preprocessing, {}, plan, importance=importance)


def moved(before, after):
    """Paths of the parameters that are not bitwise what they were."""
    old, new = flatten_dict(before, sep='/'), flatten_dict(after, sep='/')
    return {p for p in old if np.asarray(old[p]).tobytes() != np.asarray(new[p]).tobytes()}


def intended(prepared, plan, strategy):
    """The leaves that a strategy is to move, from its definition or from what it drew."""
    net, variables = prepared.network, prepared.variables
    paths = set(flatten_dict(variables['params'], sep='/'))
    name = strategy.partition(':')[0]
    kind = catalogue()[name].details.kind
    if kind == 'mask':
        return expected(net, variables, strategy)
    if kind == 'adapter':
        return {p for p in paths if net.is_adapter_leaf(p) or p.startswith('head/')}
    if kind == 'data_driven':
        weights = [choice.weights for choice in plan.choices]
        # A key's bias has no gradient to speak of (softmax does not see it): its weight may be
        # so low that its steps are lost to rounding.
        still = {p for p in paths if p.endswith('key/bias')} if name == 'auto_rgn' else set()
        return {p for p in paths if any(found[p] > 0 for found in weights)} - still
    if name == 'anb':
        before = net.stages[: net.stages.index(net.blocks[0]) + 1]
        return {p for p in paths if p.split('/')[0] not in before}
    if name in ('lisa', 'hft', 'badam'):
        return set().union(*(phase.trainable for phase in plan.phases))
    return paths


def refuses(name, strategy):
    """Whether the network has nothing that the strategy acts on: no attention, no bias."""
    short = strategy.partition(':')[0]
    return short in TRANSFORMERS_ONLY if name.endswith('_norm') else False


# The transformer of images runs one of each mechanism each time (masks alone are in
# test_frozen_means_frozen), the others what statistics, convolutions or texts make different;
# all the rest runs where slow tests run.
QUICK = {
    'vit': (
        *('auto_rgn', 'autofreeze', 'dora', 'ema', 'ewc', 'fisher_mask', 'gps', 'ia3', 'l2_sp'),
        'lisa',
        *('lp_ft', 'prompt_deep', 'reinit_top', 'rifle', 'stlr', 'wise_ft'),
    ),
    'batch_norm': ('last', 'lp_ft', 'auto_rgn'),
    'group_norm': (),
    'bert': ('lora',),
    'gpt2': (),
    'llama': (),
}
CASES = [
    pytest.param(
        name,
        strategy,
        marks=[]
        if strategy.partition(':')[0] in QUICK[name] or refuses(name, strategy)
        else pytest.mark.slow,
    )
    for name in (*NETWORKS, *TEXT_NETWORKS)
    for strategy in STRATEGIES
]


@pytest.mark.parametrize(('name', 'strategy'), CASES)
def test_exactly_the_intended_leaves_move(name, strategy, tokenizer_folder):
    short = strategy.partition(':')[0]
    if refuses(name, strategy):
        with pytest.raises(UserError):
            prepared_for(name, strategy, tokenizer_folder)
        return
    prepared = prepared_for(name, strategy, tokenizer_folder)
    result, summary = train(prepared, progress=False)
    before, after = prepared.variables, result.variables
    wanted = intended(prepared, result.plan, strategy)
    assert moved(before['params'], after['params']) == wanted
    assert summary['frozen_unchanged']
    assert np.isfinite(summary['validation']['loss'])
    if name == 'batch_norm':
        trained = {path.split('/')[0] for path in wanted}
        stats = {p.split('/')[0] for p in moved(before['batch_stats'], after['batch_stats'])}
        held = short in STATISTICS_FROZEN
        assert stats == (set() if held else trained & set(before['batch_stats']))


def test_an_average_of_weights_leaves_the_statistics_of_frozen_stages_alone():
    prepared = prepared_for('batch_norm', 'last:1+soup_uniform:2')
    result, summary = train(prepared, progress=False)
    assert summary['frozen_unchanged']
    paths = moved(prepared.variables['batch_stats'], result.variables['batch_stats'])
    # The norm of the last block and the one before the head belong to what trains.
    assert {p.split('/')[0] for p in paths} == result.plan.moving_stats
    assert paths and 'stem' not in result.plan.moving_stats


@pytest.mark.parametrize('strategy', ['fisher_mask:0.05,8', 'random_mask:0.05', 'child_tuning_d'])
def test_masked_entries_stay_bitwise_and_the_count_is_exact(strategy):
    prepared = prepared_for('vit', strategy)
    result, summary = train(prepared, progress=False)
    old = flatten_dict(prepared.variables['params'], sep='/')
    new = flatten_dict(result.variables['params'], sep='/')
    trunk = [p for p in old if not p.startswith('head/')]
    changed = sum(int((np.asarray(old[p]) != np.asarray(new[p])).sum()) for p in trunk)
    share = parse_term(strategy).arguments['share']
    assert changed == round(share * sum(old[p].size for p in trunk))
    head = sum(old[p].size for p in old if p.startswith('head/'))
    assert summary['params_trainable'] == changed + head
