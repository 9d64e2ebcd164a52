"""What a run ended with, and how far one is: what the rows of the reliability table compare."""

import contextlib
import hashlib
import json

FILES = ('model/model.safetensors', 'metrics.jsonl', 'plan.json', 'config.json', 'choices.json')
CLOCK = {
    *('wall_seconds', 'compile_seconds', 'step_seconds_median', 'stage_seconds'),
    *('peak_memory_bytes', 'device_peak_bytes', 'provenance'),
    'seconds',  # of the audit
    # Of rows of an ablation: shares of a program that held more or fewer runs.
    *('vectorised', 'step_flops', 'step_bytes', 'run_flops'),
    'workers',  # how many ran at a time
}


def end_of(folder):
    """What a run ended with: hashes of its files, and its numbers without those of the clock."""
    if (folder / 'runs.jsonl').exists():
        rows = [json.loads(line) for line in (folder / 'runs.jsonl').read_text().splitlines()]
        rows.sort(key=lambda row: (row['arm'], row['rate'] or 0.0, row['seed']))
        return without_clock(rows)
    there = [name for name in FILES if (folder / name).exists()]
    found = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in there}
    return {**found, 'result': without_clock(json.loads((folder / 'result.json').read_text()))}


def finished(folder):
    """Whether a run, or an ablation, has come to its end."""
    return (folder / 'result.json').exists() or (folder / 'table.md').exists()


def without_clock(value):
    """A value as JSON has it, without the fields that a clock decides."""
    if isinstance(value, dict):
        return {name: without_clock(inner) for name, inner in value.items() if name not in CLOCK}
    return [without_clock(inner) for inner in value] if isinstance(value, list) else value


def progress_of(folder):
    """Bytes of all rows of metrics, or of runs, that are written so far."""
    total = -1
    for name in ('metrics.jsonl', 'runs.jsonl'):
        with contextlib.suppress(OSError):
            total += sum(path.stat().st_size for path in folder.rglob(name))
    return total
