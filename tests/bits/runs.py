"""A dozen tiny runs, and the hash of what each ends with: its trained weights and its metrics.

    python tests/bits/runs.py           print the hashes
    python tests/bits/runs.py plain     print that of one run
    python tests/bits/runs.py --record  write them to recorded.json, under this machine's kind

A change of structure keeps every hash. A change of what is computed says so in its commit, and
records them again.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILE = pathlib.Path(__file__).with_name('recorded.json')
IMAGES = {
    'source': 'digits:scattered',
    'examples_per_class': 5,
    'val_per_class': 5,
    'test_fraction': 0.03,
    'batch_size': 10,
}
TEXTS = {
    'source': 'docstrings:order',
    'examples_per_class': 20,
    'val_per_class': 10,
    'test_fraction': 0.02,
    'max_length': 16,
    'batch_size': 10,
}
OPTIMIZER = {'learning_rate': 1e-3, 'weight_decay': 0.01, 'clip_norm': 1.0}
AUGMENTED = {**IMAGES, 'augment': 'shift:2'}
RUNS: dict[str, dict[str, Any]] = {
    'plain': {'data': AUGMENTED, 'freeze': 'last:2'},
    'lp_ft': {'freeze': 'lp_ft'},
    'gradual': {'freeze': 'gradual_steps'},
    'auto_rgn': {'freeze': 'auto_rgn'},
    'lora': {'freeze': 'lora:4'},
    'ema': {'freeze': 'last:1+ema:0.9'},
    'accumulate': {'freeze': 'last:1', 'optimizer': {**OPTIMIZER, 'accumulate': 2}},
    'cached': {'freeze': 'last:1', 'train': {'cache': 'on'}},
    'remat': {'data': AUGMENTED, 'freeze': 'full', 'train': {'remat': True}},
    'l2_sp': {'freeze': 'last:1+l2_sp'},
    'text': {'init': 'docstrings', 'data': TEXTS, 'freeze': 'last:1'},
}
ABLATION = {
    'arms': {'full': {'freeze': 'full'}, 'head': {'freeze': 'head'}},
    'rates': (1e-3, 1e-2),
    'seeds': (0, 1),
    'max_extra': 0,
}


def config_of(name: str) -> dict[str, Any]:
    """The values of a run's config."""
    given = RUNS[name]
    train = {'epochs': 4.0, 'eval_every': 2.0, 'cache': 'off', **given.get('train', {})}
    return {'init': 'glyphs', 'data': IMAGES, 'optimizer': OPTIMIZER, **given, 'train': train}


def hashed(*parts: Any) -> str:
    """The first 16 digits of the sha256 of arrays by name, and of plain values."""
    import numpy as np

    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, dict) and any(hasattr(value, 'dtype') for value in part.values()):
            for key, value in sorted(part.items()):
                array = np.asarray(value)
                digest.update(f'{key} {array.dtype} {array.shape}'.encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        else:
            digest.update(json.dumps(part, sort_keys=True, default=float).encode())
    return digest.hexdigest()[:16]


def of_run(values: dict[str, Any]) -> str:
    """The hash of one run: all leaves, and the losses and accuracy of the test split."""
    from flax.traverse_util import flatten_dict

    from ftjax.api import Finetuning
    from ftjax.config import read_config

    run = Finetuning(read_config(values)).run(progress=False)
    metrics = run.evaluate()
    leaves = flatten_dict(dict(run.variables['params']), sep='/')
    return hashed(leaves, {key: metrics[key] for key in ('accuracy', 'log_loss')})


LATER = {
    *('mcc', 'auroc', 'average_precision', 'sensitivity', 'specificity'),
    'sensitivity_at_95_specificity',
}
"""Metrics that came after the hash of a grid was recorded."""


def of_ablation() -> str:
    """The hash of the metrics of a grid, in the order of its cells."""
    config = {**config_of('plain'), 'data': IMAGES, 'freeze': 'full'}
    config['train'] = {'epochs': 4.0, 'eval_every': 2.0}
    lines = ['from ftjax.config import template', '', '', 'def get_config():']
    lines += [f'    return template(**{config!r}, ablation={ABLATION!r})', '']
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / 'grid.py').write_text('\n'.join(lines))
        script = [sys.executable, str(ROOT / 'scripts' / 'ablate.py')]
        words = [f'--config={folder / "grid.py"}', f'--workdir={folder / "out"}']
        subprocess.run([*script, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        rows = [json.loads(line) for line in (folder / 'out' / 'runs.jsonl').open()]
    kept = [
        {key: row[key] for key in ('arm', 'rate', 'seed', 'status', 'val', 'test')} for row in rows
    ]
    for row in kept:
        row['test'] = {name: value for name, value in row['test'].items() if name not in LATER}
    return hashed(sorted(kept, key=lambda row: (row['arm'], row['rate'], row['seed'])))


def of_mesh() -> str:
    """The hash of a run on 4 x 2 virtual devices, in a process of its own."""
    values = {**config_of('plain'), 'mesh': {'data': 4, 'fsdp': 2}}
    values['data'] = {**AUGMENTED, 'batch_size': 16}
    flags = f'{os.environ.get("XLA_FLAGS", "")} --xla_force_host_platform_device_count=8'
    code = f'import runs; print(runs.of_run({values!r}))'
    done = subprocess.run(
        [sys.executable, '-c', code],
        cwd=pathlib.Path(__file__).parent,
        env={**os.environ, 'XLA_FLAGS': flags, 'PYTHONPATH': str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.split()[-1]


def found(name: str) -> str:
    """The hash of a run by name."""
    if name == 'ablation':
        return of_ablation()
    return of_mesh() if name == 'mesh' else of_run(config_of(name))


NAMES = (*RUNS, 'mesh', 'ablation')


def kind() -> str:
    """What decides the bits beside the code: instruction set, cores, optimisation, JAX."""
    import jax

    text = pathlib.Path('/proc/cpuinfo')
    words = set(text.read_text().split()) if text.exists() else set()
    sets = [name for name in ('avx2', 'avx512f', 'avx512_bf16', 'amx_tile') if name in words]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    quick = os.environ.get('JAX_DISABLE_MOST_OPTIMIZATIONS', '0').lower() in ('1', 'true')
    words = [platform.machine(), *sets, f'{cores} cores', f'jax {jax.__version__}']
    return ' '.join(words + ['compiled quickly'] * quick)


def main() -> None:
    known = json.loads(FILE.read_text()) if FILE.exists() else {}
    before, now = known.get(kind(), {}), {}
    chosen = [name for name in sys.argv[1:] if not name.startswith('--')]
    for name in chosen or NAMES:
        now[name] = found(name)
        said = '' if name not in before else 'same' if before[name] == now[name] else 'DIFFERS'
        print(f'{name:12} {now[name]} {said}', flush=True)
    if '--record' in sys.argv[1:]:
        FILE.write_text(json.dumps({**known, kind(): {**before, **now}}, indent=1) + '\n')


if __name__ == '__main__':
    sys.path.insert(0, str(ROOT))
    main()
