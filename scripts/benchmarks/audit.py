"""What the audit finds of errors that were planted, and what its always-on part costs.

    FTJAX_DATA=.. python scripts/benchmark.py audit --out=results/audit

Photographs are the ants and bees of the data folder, labels those of CIFAR-10's test set, texts
SST-2 sentences. Copies are planted in the test split of a folder whose training split holds the
originals. Writes table.md and table.json. cleanlab is compared with where it is installed.
"""

import pathlib
import time
from typing import Any

import numpy as np
from benchmarks.audit_planted import CIFAR, HYMENOPTERA, data, groups, label_noise, photographs
from benchmarks.audit_planted_looks import damaged_texts, looks
from benchmarks.audit_planted_texts import mojibake, texts


def run(folder: pathlib.Path, seed=0, labels=4000):
    """Writes table.md and table.json."""
    from ftjax.io.files.atomic import write_json, write_text

    rng = np.random.default_rng(seed)
    rows = [*photographs(rng), *texts(rng), *mojibake(rng), *groups(rng), *label_noise(rng, labels)]
    rows += [*looks(rng), *damaged_texts(rng)]
    measured = {'rows': rows, 'shift': shifts(rng), 'cost': cost(), 'runs': runs(), 'seed': seed}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / 'table.json', measured)
    write_text(folder / 'table.md', table(measured))
    print(table(measured))


def shifts(rng, draws=300):
    """Share of data sets in which a shift is found at the 5 % level, without one and with one."""
    from ftjax.data.audit.measures.shift import shift_between

    found = {}
    for moved in (0.0, 0.5):
        hits = 0
        for number in range(draws):
            left, right = rng.normal(size=(2, 150, 16))
            right[:, 0] += moved
            told = shift_between(left, right, number, 400)
            hits += told is not None and told.p <= 0.05
        found[f'mean moved by {moved:g} sd'] = hits / draws
    return {'draws': draws, 'level': 0.05, **found}


def cost():
    """Seconds of the always-on part; each data set in a state as a run finds it."""
    from ftjax.data import DataSettings, load_data
    from ftjax.data.audit.quick import quick_audit

    sources: dict[str, dict[str, Any]] = {
        'digits (1,797 arrays of 8 x 8)': {'source': 'digits'},
        'ants and bees (396 files)': {'source': f'folder:{data(HYMENOPTERA)}'},
        'CIFAR-10 test (10,000 arrays)': {
            'source': f'npz:{data(CIFAR)}',
            'class_names': [str(i) for i in range(10)],
        },
        'SST-2 (9,613 texts)': {'source': f'csv:{data("text/sst2")}', 'layout': 'label_last'},
    }
    found = {}
    for name, settings in sources.items():
        times, busy = [], []
        for _ in range(3):
            splits = load_data(DataSettings(**settings))
            splits.fingerprint  # noqa: B018 - a run takes it too, and the hashes of files with it
            started, worked = time.perf_counter(), time.process_time()
            quick_audit(splits)
            times.append(time.perf_counter() - started)
            busy.append(time.process_time() - worked)
        found[name] = {'seconds': sorted(times)[1], 'first': times[0], 'cpu': sorted(busy)[1]}
    return found


def runs():
    """What the always-on part is of the seconds of short runs: three epochs of a new head."""
    from ftjax.config import read_config
    from ftjax.runs.prepare import prepare
    from ftjax.runs.run import train

    cifar = 'data:resnet26_gn_cifar10'
    cases = {
        'digits, a small ViT': ('glyphs', {'source': 'digits'}),
        'ants and bees, ResNet-26': (cifar, {'source': f'folder:{data(HYMENOPTERA)}'}),
        'CIFAR-10 test, ResNet-26': (
            cifar,
            {'source': f'npz:{data(CIFAR)}', 'class_names': [str(i) for i in range(10)]},
        ),
    }
    found = {}
    for name, (init, settings) in cases.items():
        values = {'init': init, 'data': settings, 'freeze': 'head', 'train': {'epochs': 3.0}}
        started = time.perf_counter()
        _, result = train(prepare(read_config(values)), progress=False)
        seconds = time.perf_counter() - started
        spent = result['audit']['seconds']
        found[name] = {'audit': spent, 'run': seconds, 'share': spent / seconds}
    return found


def table(measured):
    """The tables as Markdown."""
    lines = [
        '# The audit on planted errors',
        '',
        'By `python scripts/benchmark.py audit --out=results/audit`; intervals are Wilson, 95 %.',
        '',
        '| planted | found by | planted n | of | recall | precision | found, not planted |',
        '|---|---|---|---|---|---|---|',
    ]
    for one in measured['rows']:
        shown = [_share(one[k], one[f'{k}_interval']) for k in ('recall', 'precision')]
        lines.append(
            f'| {one["kind"]} | {one["check"]} | {one["planted"]} | {one["examples"]:,} | '
            f'{shown[0]} | {shown[1]} | {one["wrong"]} |'
        )
    noise = next(one for one in measured['rows'] if 'average_precision' in one)
    lines += ['', f'Average precision of the ranking of labels: {noise["average_precision"]:.3f}']
    if 'cleanlab' in noise:
        their = noise['cleanlab']
        lines[-1] += (
            f'; cleanlab on the same probabilities {their["average_precision"]:.3f}, recall '
            f'{their["recall"]:.3f}, precision {their["precision"]:.3f}; '
            f'{their["flagged_by_both"]:.1%} of what either flags is flagged by both'
        )
    shift = {k: v for k, v in measured['shift'].items() if k.startswith('mean')}
    lines += [
        '',
        'Shift between splits of 150 examples and 16 features, found at the 5 % level: '
        + ', '.join(f'{k} {v:.1%}' for k, v in shift.items())
        + f' (of {measured["shift"]["draws"]} draws each)',
        '',
        '| always-on checks of | seconds (median of 3) | first | of a core (median) |',
        '|---|---|---|---|',
        *(
            f'| {name} | {one["seconds"]:.2f} | {one["first"]:.2f} | {one["cpu"]:.2f} |'
            for name, one in measured['cost'].items()
        ),
        '',
    ]
    if measured.get('runs'):
        lines += [
            '| a run of three epochs of a new head | its seconds | always-on checks | share |',
            '|---|---|---|---|',
            *(
                f'| {name} | {one["run"]:.1f} | {one["audit"]:.2f} | {one["share"]:.1%} |'
                for name, one in measured['runs'].items()
            ),
            '',
        ]
    return '\n'.join(lines)


def _share(value, interval):
    if value is None:
        return 'none found'
    return f'{value:.1%} [{interval[0]:.1%}, {interval[1]:.1%}]'
