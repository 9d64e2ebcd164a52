r"""What should learn in a small decoder, and what does it cost in text that it could write before?

    python scripts/ablate.py --config=configs/ablations/frontier_decoder.py \
        --workdir=runs/frontier_decoder

The task is that of configs/instruct.py, for one epoch; retention is the negative log-likelihood of
a token of `documentation`, general text of the kind that the network was pretrained on. Measured,
test and documentation, lower is better: full 2.16 / 3.41, l2_sp 2.11 / 3.13 (better at both),
blocks:20%-80% 2.28 / 3.16, lora:8 2.50 / 3.41, lora:8,all 2.26 / 3.47; every arm forgets. Results:
results/frontier_decoder. About 70 minutes on one core, and it goes on where it was stopped. Three
arms with two epochs: results/instruct.
"""

from ml_collections import ConfigDict

from configs.instruct import get_config as one_run

LOW, MIDDLE, HIGH = (3e-4, 1e-3, 3e-3), (1e-3, 3e-3, 1e-2), (3e-3, 1e-2, 3e-2)
MIDDLE_BLOCKS = 'block_0[0-2]'  # those of blocks:20%-80%
ARMS = {
    'full': {'freeze': 'full', 'rates': LOW},
    'last:1': {'freeze': 'last:1', 'rates': MIDDLE},
    'last:2': {'freeze': 'last:2', 'rates': MIDDLE},
    'first:1': {'freeze': 'first:1', 'rates': MIDDLE},
    'first:2': {'freeze': 'first:2', 'rates': MIDDLE},
    'blocks:1-2': {'freeze': 'blocks:1-2', 'rates': MIDDLE},
    'blocks:20%-80%': {'freeze': 'blocks:20%-80%', 'rates': MIDDLE},
    'mlp_in': {'freeze': 'mlp_in', 'rates': MIDDLE},
    'attention_proj': {'freeze': 'attention_proj', 'rates': MIDDLE},
    'norm': {'freeze': 'norm', 'rates': (1e-2, 3e-2, 1e-1)},
    'lora:8': {'freeze': 'lora:8', 'rates': HIGH},
    'lora:8,all': {'freeze': 'lora:8,all', 'rates': HIGH},
    'lora:8, 20%-80%': {'freeze': f'lora:8,16,{MIDDLE_BLOCKS}/.*(query|value)', 'rates': HIGH},
    'dora:8': {'freeze': 'dora:8', 'rates': HIGH},
    'adapter:8': {'freeze': 'adapter:8', 'rates': HIGH},
    'l2_sp': {'freeze': 'full+l2_sp:0.1', 'rates': LOW},
    'mixout': {'freeze': 'full+mixout:0.7', 'rates': LOW},
    'ema': {'freeze': 'full+ema:0.9', 'rates': LOW},
    'wise_ft': {'freeze': 'full+wise_ft', 'rates': LOW},
    'pretrained': {'baseline': 'pretrained'},
}
CLAIMS = (
    ('difference', 'blocks:20%-80%', 'lora:8'),
    ('difference', 'blocks:20%-80%', 'lora:8,all'),
    ('difference', 'lora:8, 20%-80%', 'lora:8'),
    ('difference', 'mlp_in', 'attention_proj'),
    ('difference', 'mlp_in', 'lora:8,all'),
    ('difference', 'mlp_in', 'full'),
)
# What is forgotten beside full: the table tells it beside the network before training.
AGAINST_FULL = tuple(
    ('difference', arm, 'full')
    for arm in ('l2_sp', 'wise_ft', 'ema', 'blocks:20%-80%', 'lora:8', 'lora:8,all')
)
REDUCED = (
    'Reduced: a decoder of four blocks and 0.72 million parameters; one epoch, 72 steps; 3 rates '
    'an arm, tried with the first of five seeds, and one more for all arms while the best of any '
    'is the highest or lowest.',
    'The head is the table of words, which the strategies of single parts leave frozen, and no '
    'layer has a bias: there is no arm head and no bitfit.',
    'blocks:1-2 are the two blocks in the middle of four, blocks:20%-80% blocks 0 to 2; lora:8, '
    '20%-80% has adapters in these alone. LoRA and DoRA have alpha 16 in all arms.',
    'A step is priced as it runs: where the lower part is frozen and its outputs are stored (head, '
    'last:k), without that part, which runs once for all epochs. Times were taken beside other '
    'work and tell little; FLOPs do not depend on it.',
    'Most sentences of documentation were in the pretraining of the network.',
)


def get_config():
    config = one_run()
    config.train.forgetting = ''  # measured below, for the network as it was too
    config.train.epochs, config.train.eval_every = 1.0, 1.0
    config.ablation = ConfigDict(
        {
            'question': 'What should learn in a small decoder, and what does it forget of text?',
            'arms': ARMS,
            'rates': LOW,
            'seeds': (0, 1, 2, 3, 4),
            'tuning_seeds': 1,
            'reference': 'full',
            'metric': 'nll',
            'also_evaluate': {
                'documentation': {'source': 'docstrings:unlabelled', 'test_fraction': 0.04}
            },
            'retention': 'documentation',
            'retention_margin': 0.05,  # nats a token: one in twenty of perplexity
            # Two claims, told whichever way they fall: the middle of a network against LoRA
            # (arXiv:2604.11838), and gate & up against everything (arXiv:2510.08564).
            'gates': CLAIMS,
            'retention_gates': CLAIMS + AGAINST_FULL,
            'max_extra': 1,
            'notes': REDUCED,
        },
        convert_dict=False,
    )
    return config
