"""A Llama of 8B on pods: bytes that a device holds and moves a step, against links; on paper."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

SIZES: dict[str, Any] = {
    'vocab_size': 128256,
    'width': 4096,
    'depth': 32,
    'heads': 32,
    'kv_heads': 8,
    'mlp_dim': 14336,
    'head': 'lm',
    'dtype': 'bfloat16',
}
ARMS = ('full', 'last:4', 'lora:8')
TPU = 'docs.cloud.google.com/tpu/docs'
H100 = 'nvidia.com/en-us/data-center/h100, DGX H100 user guide'
PODS: tuple[dict[str, Any], ...] = (
    # Receiving is half of what the makers call bidirectional. FLOP/s are dense bfloat16.
    {'pod': 'TPU v5e-256', 'data': 1, 'fsdp': 256, 'flops': 197e12, 'memory': 16e9,
     'link': 200e9, 'across': 200e9, 'source': f'{TPU}/v5e'},
    {'pod': 'TPU v6e-8', 'data': 1, 'fsdp': 8, 'flops': 918e12, 'memory': 32e9,
     'link': 400e9, 'across': 400e9, 'source': f'{TPU}/v6e'},
    {'pod': 'TPU v6e-256', 'data': 1, 'fsdp': 256, 'flops': 918e12, 'memory': 32e9,
     'link': 400e9, 'across': 400e9, 'source': f'{TPU}/v6e'},
    {'pod': '8 x H100', 'data': 1, 'fsdp': 8, 'flops': 989e12, 'memory': 80e9,
     'link': 450e9, 'across': 450e9, 'source': H100},
    # A ring through 8 nodes enters each by eight cards of 400 Gbit/s.
    {'pod': '64 x H100, fsdp over all', 'data': 1, 'fsdp': 64, 'flops': 989e12, 'memory': 80e9,
     'link': 400e9, 'across': 50e9, 'source': H100},
    {'pod': '64 x H100, fsdp in a node', 'data': 8, 'fsdp': 8, 'flops': 989e12, 'memory': 80e9,
     'link': 450e9, 'across': 50e9, 'source': H100},
)  # fmt: skip
REACHED = 0.5
"""The share of peak FLOP/s that products are taken to reach."""
CAPTION = (
    '**A forecast on paper: nothing here was run, and no step was compiled.** Llama of 8B shapes '
    '({parameters:.2f}B parameters), bfloat16 products, frozen leaves held in bfloat16, trainable '
    'ones with two moments in float32 (last:4 and lora:8 train the head too), `train.remat`, '
    '{tokens:,} tokens a device and step. Held: '
    'bytes of a device between steps; stage: whole leaves of the largest stage, up to two of which '
    'are there within a step, of the tables over the vocabulary one eighth, which is there at once '
    '(activations come on top). Received: bytes a device receives in a '
    'step, from `ftjax/training/cost/traffic.py`, whose gathers tests hold against compiled '
    'programs of small networks. Links: bytes received over published speeds, one direction; '
    'products: FLOPs at {reached:.0%} of the published dense bfloat16 peak. The step is the longer '
    'of the two, if all transfers run beside products. Latency of transfers is left out. Sources: '
    '{sources}.'
)


def run(folder: pathlib.Path, tokens: int = 4096) -> list[dict[str, Any]]:
    """Writes sharding.json and .md."""
    from benchmarks import tables

    rows: list[dict[str, Any]] = []
    parameters = 0.0
    for devices in sorted({pod['data'] * pod['fsdp'] for pod in PODS}):
        pods = [pod for pod in PODS if pod['data'] * pod['fsdp'] == devices]
        for found in in_process(devices, pods):
            parameters = found.pop('parameters')
            rows.append(forecast(found, tokens))
    order = [pod['pod'] for pod in PODS]
    rows.sort(key=lambda row: (order.index(row['pod']), ARMS.index(row['freeze'])))
    said = CAPTION.format(
        parameters=parameters / 1e9,
        tokens=tokens,
        reached=REACHED,
        sources='; '.join(dict.fromkeys(pod['source'] for pod in PODS)),
    )
    tables.write(
        folder, 'sharding', rows, said, 'python scripts/benchmark.py sharding', timed=False
    )
    return rows


def in_process(devices: int, pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The traffic of all arms on some pods, in a process with so many virtual devices."""
    flag = f'--xla_force_host_platform_device_count={devices}'
    done = subprocess.run(
        [sys.executable, __file__, json.dumps(pods)],
        env={**os.environ, 'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': flag},
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def traffic_of(pod: dict[str, Any], freeze: str) -> dict[str, Any]:
    """Bytes of an arm on a pod, and its leaves by what they take part in, from shapes."""
    import jax
    import numpy as np

    from ftjax.distributed.sharding import Sharding
    from ftjax.freezing.plan.plan import as_settings, make_plan
    from ftjax.freezing.strategies.adapters import with_adapters
    from ftjax.leaves import flatten
    from ftjax.models.registry import build
    from ftjax.training.cost.traffic import traffic
    from ftjax.training.step.run_spec import RunSpec

    settings = as_settings({'strategy': freeze, 'frozen_dtype': 'bfloat16'})
    network = build('llama', SIZES)
    variables = jax.eval_shape(lambda: network.init(jax.random.key(0), network.example_input(1)))
    network, variables = with_adapters(settings, network, variables)
    spec = RunSpec(
        network,
        variables,
        make_plan(settings, network, variables),
        sharding=Sharding.of({'data': pod['data'], 'fsdp': pod['fsdp']}),
        batch_size=pod['data'] * pod['fsdp'],
        task_without_data='causal_lm',
    )
    phase = spec.plan.at(0)
    found, cut = traffic(spec, phase), network.stages.index(phase.cut)
    sizes = {p: int(np.prod(x.shape)) for p, x in flatten(variables['params']).items()}
    after = set(network.stages[cut:])
    products = {p: n for p, n in sizes.items() if not p.startswith('embed/')}
    return {
        **pod,
        'freeze': freeze,
        'held': found.held,
        'stage': found.largest_stage,
        'along_fsdp': found.along_fsdp,
        'along_data': found.along_data,
        'parameters': sum(sizes.values()),
        'products': sum(products.values()),
        'after_cut': sum(n for p, n in products.items() if p.split('/')[0] in after),
        'trained': sum(n for p, n in products.items() if p in set(phase.trainable)),
        'blocks_after_cut': len(after & set(network.blocks)),
    }


def forecast(found: dict[str, Any], tokens: int) -> dict[str, Any]:
    """The row of an arm on a pod: seconds of links and of products, and which is longer."""
    attention = 4 * tokens * SIZES['width']  # FLOPs a token and block: scores, and their sum
    forward = 2 * found['products'] + attention * SIZES['depth']
    again = 2 * found['after_cut'] + attention * found['blocks_after_cut']
    # Backward: of inputs as much as forward, of attention twice, of weights that train.
    backward = again + attention * found['blocks_after_cut'] + 2 * found['trained']
    products = tokens * (forward + again + backward) / (REACHED * found['flops'])
    links = found['along_fsdp'] / found['link'] + found['along_data'] / found['across']
    fits = found['held'] + 2 * found['stage'] < found['memory']
    return {
        'pod': found['pod'],
        'freeze': found['freeze'],
        'data x fsdp': f'{found["data"]} x {found["fsdp"]}',
        'held_bytes': found['held'],
        'stage_bytes': found['stage'],
        'memory_bytes': int(found['memory']),
        'leaves_fit': fits,
        'received_along_fsdp_bytes': int(found['along_fsdp']),
        'received_along_data_bytes': int(found['along_data']),
        'links_seconds': links,
        'products_seconds': products,
        'step_seconds': max(links, products),
        'bound_by': 'links' if links > products else 'products',
    }


if __name__ == '__main__':
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
    given = json.loads(sys.argv[1])
    print(json.dumps([traffic_of(pod, freeze) for pod in given for freeze in ARMS]))
