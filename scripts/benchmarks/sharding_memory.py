"""What a device of a mesh holds in a step of an 8B Llama, by the compiled program; on paper."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

CASES = tuple((devices, freeze) for devices in (8, 64, 256) for freeze in ('full', 'lora:8'))
WITHIN = 0.1
CAPTION = (
    '**No step was run: programs were compiled for virtual CPU devices, from shapes alone.** '
    'Llama of 8B shapes, float32, `train.remat`, one sequence of {tokens:,} tokens a device, all '
    'leaves in parts along `fsdp`. Compiled: arguments and temporary memory of one device, as the '
    'compiler lays them out. Expected, from shapes: what a device holds between steps, gradients / '
    'fsdp, two blocks of weights whole (the one at work and the one gathered ahead, or the '
    'gradient of the one at work before it is in parts), one hidden state a block; and what one '
    'block keeps between its forward and its backward, by its own program on one device. Ratio: '
    'compiled over expected. Ratio to one stage: compiled over what a device holds, the largest '
    'stage whole (the head) and activations, without gradients and a second stage; this column was '
    'added after the programs were measured. Goal: within {within:.0%} of 1.'
)


def run(folder: pathlib.Path, tokens: int = 1024, depth: int = 32) -> list[dict[str, Any]]:
    """Writes sharding_memory.json and .md; minutes a row."""
    from benchmarks import tables

    from ftjax.io.process.progress import Progress

    rows = []
    with Progress(len(CASES), 'sharding_memory', unit='program') as bar:
        for done, (devices, freeze) in enumerate(CASES, 1):
            row = compiled_row(devices, freeze, tokens, depth)
            del row['devices seen']
            rows.append(row)
            bar.update(done, {})
    said = CAPTION.format(tokens=tokens, within=WITHIN)
    made = 'python scripts/benchmark.py sharding_memory'
    tables.write(folder, 'sharding_memory', rows, said, made, timed=False)
    return rows


def compiled_row(devices: int, freeze: str, tokens: int, depth: int) -> dict[str, Any]:
    """The row of an arm on so many devices, from a process that has them."""
    flag = f'--xla_force_host_platform_device_count={devices}'
    done = subprocess.run(
        [sys.executable, __file__, json.dumps([devices, freeze, tokens, depth])],
        env={
            **os.environ,
            'JAX_PLATFORMS': 'cpu',
            'XLA_FLAGS': flag,
            'JAX_DISABLE_MOST_OPTIMIZATIONS': '0',  # memory is that of programs as they run
        },
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def spec_of(devices: int, freeze: str, tokens: int, depth: int) -> Any:
    """A run of an 8B Llama on a mesh, as shapes."""
    import jax
    import numpy as np
    from benchmarks.sharding import SIZES

    from ftjax.distributed.sharding import Sharding
    from ftjax.freezing.plan.plan import as_settings, make_plan
    from ftjax.freezing.strategies.adapters import with_adapters
    from ftjax.models.registry import build
    from ftjax.training.settings import TrainSettings
    from ftjax.training.step.run_spec import RunSpec

    # A CPU widens products of bfloat16, so that their memory is not that of other devices.
    network = build('llama', {**SIZES, 'depth': depth, 'dtype': 'float32'})
    variables = jax.eval_shape(lambda: network.init(jax.random.key(0), network.example_input(1)))
    settings = as_settings(freeze)
    network, variables = with_adapters(settings, network, variables)
    ids = jax.ShapeDtypeStruct((devices, tokens), np.int32)
    spec = RunSpec(
        network,
        variables,
        make_plan(settings, network, variables, head_is_new=False),
        sharding=Sharding.of({'fsdp': devices}),
        batch_size=devices,
        settings=TrainSettings(steps=1, remat=True),
        task_without_data='causal_lm',
    )
    spec.__dict__['batch_shapes'] = {
        'inputs': {'input_ids': ids, 'attention_mask': ids, 'targets': ids},
        'labels': jax.ShapeDtypeStruct((devices, tokens, 2), np.int32),
        'mask': jax.ShapeDtypeStruct((devices, tokens), np.float32),
    }
    return spec


def inside_a_block(spec: Any, tokens: int) -> int:
    """Bytes that the backward of one block keeps and works in, on one device, weights apart."""
    import jax
    import jax.numpy as jnp

    network, block = spec.network, spec.network.blocks[0]
    follows = network.stages[network.stages.index(block) + 1]
    ids = jnp.zeros((1, tokens), jnp.int32)
    inputs = {'input_ids': ids, 'attention_mask': ids}
    state = jax.eval_shape(lambda v: network.apply(v, inputs, stop=block), spec.variables)
    own = {'params': {block: spec.variables['params'][block]}}

    def backward(own: Any, hidden: Any, rest: Any, slope: Any) -> Any:
        def passed_on(own: Any, hidden: Any) -> Any:
            taken = {**rest, 'hidden': hidden}
            return network.apply(own, taken, start=block, stop=follows)['hidden']

        return jax.vjp(passed_on, own, hidden)[1](slope)

    rest = {key: x for key, x in state.items() if key != 'hidden'}
    compiled = jax.jit(backward).lower(own, state['hidden'], rest, state['hidden']).compile()
    memory: Any = compiled.memory_analysis()
    return int(memory.temp_size_in_bytes)


def measured(devices: int, freeze: str, tokens: int, depth: int) -> dict[str, Any]:
    """Bytes of a device: by the compiled program, and as expected."""
    import jax
    import numpy as np
    from benchmarks.sharding import SIZES

    from ftjax.leaves import flatten
    from ftjax.training.cost.cost import compile_step
    from ftjax.training.cost.memory import step_arguments

    spec = spec_of(devices, freeze, tokens, depth)
    phase = spec.plan.at(0)
    held, _ = step_arguments(spec, phase)
    memory: Any = compile_step(spec, phase).memory_analysis()
    compiled = int(memory.argument_size_in_bytes + memory.temp_size_in_bytes)
    params = flatten(spec.variables['params'])
    sizes = {path: 4 * int(np.prod(leaf.shape)) for path, leaf in params.items()}
    block = f'{spec.network.blocks[0]}/'
    weights = sum(size for path, size in sizes.items() if path.startswith(block))
    stages: dict[str, int] = {}
    for path, size in sizes.items():
        stages[path.split('/')[0]] = stages.get(path.split('/')[0], 0) + size
    hidden = 4 * tokens * SIZES['width'] * (depth + 1)
    parts = {
        'held': sum(held.values()),
        'gradients': held['trainable parameters'],
        'two blocks': 2 * weights,
        'hidden states': hidden,
        'inside a block': inside_a_block(spec, tokens),
    }
    expected = sum(parts.values())
    one_stage = (
        parts['held'] + max(stages.values()) + parts['hidden states'] + parts['inside a block']
    )
    return {
        'fsdp': devices,
        'freeze': freeze,
        'blocks': depth,
        **{f'{name} bytes': size for name, size in parts.items()},
        'expected bytes': expected,
        'compiled bytes': compiled,
        'ratio': compiled / expected,
        'largest stage bytes': max(stages.values()),
        'ratio to one stage': compiled / one_stage,
        'parameters': sum(sizes.values()) // 4,
        'devices seen': jax.device_count(),
    }


if __name__ == '__main__':
    sys.path[:0] = [str(folder) for folder in pathlib.Path(__file__).resolve().parents[1:3]]
    print(json.dumps(measured(*json.loads(sys.argv[1]))))
