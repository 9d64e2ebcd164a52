"""Memory and seconds of a large checkpoint: loaded, planned, and priced from headers alone."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np

WIDTH, MLP, HEADS, KEYS, VOCABULARY = 2048, 5632, 32, 4, 32000
STRATEGIES = ('head', 'lora:8')
CHILD = """
import json, pathlib, re, sys, time
import jax, jax.numpy as jnp
from ftjax.config import read_config
from ftjax.data import load_data
from ftjax.runs.before_training.memory_plan import run_memory
from ftjax.runs.prepare import prepare

def peak():
    status = pathlib.Path('/proc/self/status').read_text()
    return 1024 * int(re.search(r'VmHWM:\\s*(\\d+) kB', status)[1])

values, what = json.loads(sys.argv[1]), sys.argv[2]
config = read_config(values)
data = load_data(config.data)
jax.block_until_ready(jnp.ones(3) + 1)
before, start = peak(), time.perf_counter()
prepared = prepare(config, data, weights=what == 'load')
seconds = time.perf_counter() - start
told = {'grown': peak() - before, 'seconds': seconds}
if what == 'price':
    told['peak'] = run_memory(prepared).peak
    told['priced'] = time.perf_counter() - start
print('TOLD', json.dumps(told))
"""
CAPTION = (
    'A random network of the form of Llama, a bfloat16 file: {size:.2f} GB, {count:.2f} billion '
    'parameters in {blocks} blocks. Load and plan: growth of the peak of resident memory while '
    'weights are read and the plan is made, over the file (imports and data before it left out). '
    'Planned: seconds from the config to the plan, from headers alone; priced: until the compiler '
    'has told the memory of step and validation too. Run: device memory of the run as compiled, '
    'one example of 64 tokens a step, over the file.'
)


def run(folder: pathlib.Path, blocks: int = 10) -> list[dict[str, Any]]:
    """Writes memory.json and memory.md; 22 blocks are 1.03 billion parameters, 2.07 GB."""
    from benchmarks import tables

    rows = []
    with tempfile.TemporaryDirectory() as name:
        room = pathlib.Path(name)
        size, count = write_checkpoint(room / 'model', blocks)
        for strategy in STRATEGIES:
            for dtype in ('float32', 'bfloat16'):
                values = config_of(room / 'model', strategy, dtype)
                priced = child(values, 'price')
                loaded = child(values, 'load')
                rows.append(
                    {
                        'strategy': strategy,
                        'frozen_dtype': dtype,
                        'load and plan, of the file': loaded['grown'] / size,
                        'load and plan, s': loaded['seconds'],
                        'planned, s': priced['seconds'],
                        'priced, s': priced['priced'],
                        'run, of the file': priced['peak'] / size,
                    }
                )
                print(rows[-1], flush=True)
    caption = CAPTION.format(size=size / 1e9, count=count / 1e9, blocks=blocks)
    command = f'python scripts/benchmark.py memory blocks={blocks}'
    tables.write(folder, 'memory', rows, caption, command)
    return rows


def config_of(model: pathlib.Path, strategy: str, dtype: str) -> dict[str, Any]:
    """A run on sentences that come with Python, one example a step."""
    return {
        'init': str(model),
        'data': {'source': 'docstrings:order', 'max_length': 64, 'batch_size': 1,
                 'eval_batch_size': 1, 'examples_per_class': 20},
        'freeze': {'strategy': strategy, 'frozen_dtype': dtype},
        'train': {'steps': 10, 'steps_per_call': 1, 'cache': 'off'},
    }  # fmt: skip


def child(values: dict[str, Any], what: str) -> dict[str, Any]:
    """What a fresh process tells, which shares no memory with the one before."""
    done = subprocess.run(
        [sys.executable, '-c', CHILD, json.dumps(values), what],
        capture_output=True,
        text=True,
        env={**os.environ, 'JAX_ENABLE_COMPILATION_CACHE': 'false'},
    )
    told = [line for line in done.stdout.splitlines() if line.startswith('TOLD ')]
    if not told:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(told[0].removeprefix('TOLD '))


def write_checkpoint(folder: pathlib.Path, blocks: int) -> tuple[int, int]:
    """A base model with random weights, tensor by tensor; (bytes, parameters)."""
    import ml_dtypes

    from ftjax.pretrained.locate.locate import SHIPPED
    from ftjax.pretrained.own_format import write_json
    from ftjax.pretrained.readers.safetensors_file import write_safetensors

    folder.mkdir()
    half, narrow = np.dtype(ml_dtypes.bfloat16), WIDTH // HEADS * KEYS
    shapes: dict[str, tuple[int, ...]] = {'embed_tokens.weight': (VOCABULARY, WIDTH)}
    for block in range(blocks):
        at = f'layers.{block}'
        attention = {'q': (WIDTH, WIDTH), 'k': (narrow, WIDTH), 'v': (narrow, WIDTH)}
        shapes |= {f'{at}.self_attn.{k}_proj.weight': s for k, s in attention.items()}
        shapes[f'{at}.self_attn.o_proj.weight'] = (WIDTH, WIDTH)
        shapes |= {f'{at}.mlp.{part}_proj.weight': (MLP, WIDTH) for part in ('gate', 'up')}
        shapes[f'{at}.mlp.down_proj.weight'] = (WIDTH, MLP)
        names = ('input_layernorm', 'post_attention_layernorm')
        shapes |= {f'{at}.{name}.weight': (WIDTH,) for name in names}
    shapes['norm.weight'] = (WIDTH,)
    draw = np.random.default_rng(0)

    def tensor(shape: tuple[int, ...]) -> np.ndarray:
        row = draw.normal(0, 0.02, shape[-1]).astype(half)  # repeated: it is quick and takes room
        return np.ascontiguousarray(np.broadcast_to(row, shape))

    tensors = {name: (half, shape, lambda s=shape: tensor(s)) for name, shape in shapes.items()}
    write_safetensors(folder / 'model.safetensors', tensors, {'format': 'pt'})
    fields = {
        'model_type': 'llama',
        'architectures': ['LlamaModel'],
        'dtype': 'bfloat16',
        'vocab_size': VOCABULARY,
        'hidden_size': WIDTH,
        'intermediate_size': MLP,
        'num_hidden_layers': blocks,
        'num_attention_heads': HEADS,
        'num_key_value_heads': KEYS,
        'pad_token_id': 0,
    }
    write_json(folder / 'config.json', fields)
    shutil.copyfile(SHIPPED / 'docstrings' / 'tokenizer.json', folder / 'tokenizer.json')
    count = sum(int(np.prod(shape)) for shape in shapes.values())
    return (folder / 'model.safetensors').stat().st_size, count
