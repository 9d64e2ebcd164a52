"""What batches of a bundle's program cost: one after the other, and as many at once as cores.

Milliseconds an example by the clock, and of the processor: a large batch that is quicker because it
takes a second core needs no less work. The server measures so when it starts, to choose batches.
Options: `made=FOLDER` keeps the networks, `networks=vit,bert`.
"""

from __future__ import annotations

import pathlib
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.server.networks import TITLES, made_folders

SIZES = (1, 2, 4, 8, 16, 32)


def run(folder: pathlib.Path, networks: str = 'vit,bert', made: str = '') -> None:
    """Measures and writes serving_batches.json and serving_batches.md."""
    from ftjax.io.files.atomic import write_json, write_text
    from ftjax.io.process.own_cores import own_cores
    from ftjax.io.process.provenance import provenance

    cores, rows = own_cores(), []
    with tempfile.TemporaryDirectory() as beside:
        for name in networks.split(','):
            bundle, _ = made_folders(name, pathlib.Path(made or beside))
            rows += [{'network': TITLES[name], **row} for row in measured(bundle, cores)]
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / 'serving_batches.json', {'batches': rows, 'cores': cores, **provenance()})
    text = page(rows, cores)
    write_text(folder / 'serving_batches.md', text)
    print(text)


def measured(folder: pathlib.Path, cores: int) -> list[dict[str, Any]]:
    """Milliseconds an example, by batch size; of texts at the longest length."""
    from ftjax import serving
    from ftjax.serving.bundle.goldens import read_goldens
    from ftjax.serving.server.batch_costs import best_costs
    from ftjax.serving.server.measure_batches import timed

    bundle, goldens = serving.load(folder), read_goldens(folder)
    bucket = bundle.signature.buckets[-1]
    for size in SIZES:
        for each in bundle.signature.buckets:
            bundle.compile(each, size)
    with ThreadPoolExecutor(cores) as threads:
        seconds = timed(bundle, goldens, SIZES, (1, cores), threads)
        work = timed(bundle, goldens, SIZES, (1,), threads, time.process_time)[1]
    used = best_costs(SIZES, seconds).worth(bucket)
    return [
        {
            'batch': size,
            'one_ms': 1000 * seconds[1][bucket, size] / size,
            'several_ms': 1000 * seconds[cores][bucket, size] / size,
            'processor_ms': 1000 * work[bucket, size] / size,
            'used': size in used,
        }
        for size in SIZES
    ]


def page(rows: list[dict[str, Any]], cores: int) -> str:
    """The tables as Markdown."""
    lines = [
        '# What batches cost',
        '',
        f'Milliseconds an example, the quickest run of each; {cores} cores. Made by `python '
        'scripts/benchmark.py serving_batches --out=results/serving`.',
        '',
    ]
    for network in dict.fromkeys(row['network'] for row in rows):
        lines += [f'## {network}', '']
        lines += [f'| batch | one at once | {cores} at once | processor time, one at once | used |']
        lines += ['| ---: | ---: | ---: | ---: | :--- |']
        for row in (row for row in rows if row['network'] == network):
            times = ' | '.join(f'{row[k]:.1f}' for k in ('one_ms', 'several_ms', 'processor_ms'))
            lines.append(f'| {row["batch"]} | {times} | {"yes" if row["used"] else "no"} |')
        lines.append('')
    return '\n'.join(lines)
