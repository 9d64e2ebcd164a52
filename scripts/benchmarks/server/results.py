"""Results of the load test: JSON, a page and a figure."""

from __future__ import annotations

import pathlib
from typing import Any

SIDES = (
    'program, one a call',
    'program, full batches',
    'server, one a call',
    'server, batches',
    'FastAPI + PyTorch eager',
)
BUSY = 3
"""Load average a core from which on other work was there: clients and servers make less."""
SWAP = {'steady': 'before', 'swap': 'that met it', 'after': 'after'}
COLUMNS = ('p50_ms', 'p95_ms', 'p99_ms')


def write_results(
    folder: pathlib.Path,
    found: dict[str, list[dict[str, Any]]],
    circumstances: tuple[float, float],
) -> None:
    """Writes serving.json, serving.md and serving.png.

    Args:
      folder: that they go to.
      found: rows of the load test, `load`; of what was survived, `held`; of promotions, `swaps`.
      circumstances: seconds that it took, and the highest load average of the machine.
    """
    from ftjax.io.files.atomic import write_json, write_text
    from ftjax.io.process.provenance import provenance

    rows = found['load']
    for row in rows:
        row['ratio'] = row['examples_per_second'] / _alone(rows, row['network'])
    made = provenance(seconds=circumstances[0], load_average=circumstances[1])
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / 'serving.json', {**found, **made})
    text = page(found, made)
    write_text(folder / 'serving.md', text)
    _figure(folder / 'serving.png', rows)
    print(text)


def _alone(rows: list[dict[str, Any]], network: str) -> float:
    (row,) = (r for r in rows if r['network'] == network and r['side'] == SIDES[0])
    return row['examples_per_second']


def page(found: dict[str, list[dict[str, Any]]], made: Any) -> str:
    """The tables as Markdown."""
    rows, held, swaps = found['load'], found['held'], found['swaps']
    versions, host = made['versions'], made['host']
    lines = [
        '# Servers under load',
        '',
        'Single images (PNG) or texts, on connections that stay open, from clients on the same '
        f'processors. {host["processor"]}, {host["instructions"]}, {host["cores"]} cores; '
        f'jax {versions["jax"]}, Python {versions["python"]}; commit '
        f'{str(made["git"].get("commit", ""))[:9]}. All of it took {made["seconds"]:.0f} s; '
        f'load average of the machine at most {made["load_average"]:.1f}, clients included.',
        '',
        'Made by `python scripts/benchmark.py serving --out=results/serving`. *Ratio*: throughput, '
        'with that of the program alone, called with one example, as 1. Rates are medians of '
        'rounds, with the lowest and the highest; sides took turns. *Wrong*: no 200, or a '
        "probability that differs from the bundle's golden by more than 1e-5.",
        '',
    ]
    if made['load_average'] > BUSY * host['cores']:
        lines += [
            '**The machine was busy with other work.** Rounds of one side differ several times; '
            'sides whose ranges overlap are not ranked by this table.',
            '',
        ]
    for network in dict.fromkeys(row['network'] for row in rows):
        lines += [f'## {network}', '']
        lines += ['| side | clients | examples/s | ratio | p50 ms | p95 ms | p99 ms | wrong |']
        lines += ['| :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |']
        for row in (row for row in rows if row['network'] == network):
            low, high = row['rounds']
            times = ' | '.join(f'{row[key]:.1f}' for key in COLUMNS)
            lines.append(
                f'| {row["side"]} | {row["clients"]} | {row["examples_per_second"]:.1f} '
                f'({low:.1f} .. {high:.1f}) | {row["ratio"]:.2f} | {times} | '
                f'{row["wrong"]} of {row["requests"]} |'
            )
        lines += ['', '| what | requests | wrong or lost | |', '| :--- | ---: | ---: | :--- |']
        for row in (row for row in held if row['network'] == network):
            lines.append(f'| {row["what"]} | {row["requests"]} | {row["wrong"]} | {row["told"]} |')
        lines.append('')
        lines += swapped([row for row in swaps if row['network'] == network])
    return '\n'.join([*lines, '![throughput](serving.png)', ''])


def swapped(rows: list[dict[str, Any]]) -> list[str]:
    """A table of what requests met of a promotion."""
    lines = []
    for row in rows:
        lines += [
            f'A promotion under {row["clients"]} clients: {row["swap_seconds"]:.1f} s from its '
            f'record to the last answer of the old version; {row["wrong"]} wrong or lost.',
            '',
            '| requests | number | p50 ms | p99 ms | longest ms |',
            '| :--- | ---: | ---: | ---: | ---: |',
        ]
        for name, title in SWAP.items():
            part = row[name]
            times = ' | '.join(
                '–' if part[key] is None else f'{part[key]:.1f}'
                for key in ('p50_ms', 'p99_ms', 'longest_ms')
            )
            lines.append(f'| {title} | {part["requests"]} | {times} |')
        lines.append('')
    return lines


def _figure(path: pathlib.Path, rows: list[dict[str, Any]]) -> None:
    from ftjax.plotting.save import save_figure
    from ftjax.plotting.style import COLOURS, new_figure, quiet

    networks = list(dict.fromkeys(row['network'] for row in rows))
    figure = new_figure(8.0, 0.6 + 2.2 * len(networks))
    for number, network in enumerate(networks):
        axes = figure.add_subplot(len(networks), 1, number + 1)
        shown = [row for row in rows if row['network'] == network]
        names = [f'{row["side"]}, {row["clients"]} client(s)' for row in shown]
        for place, row in enumerate(shown):
            value, (low, high) = row['examples_per_second'], row['rounds']
            colour = COLOURS[SIDES.index(row['side']) % len(COLOURS)]
            axes.barh(place, value, color=colour)
            axes.plot([low, high], [place, place], color='black', linewidth=1)
        axes.set_yticks(range(len(names)), names, fontsize=7)
        axes.invert_yaxis()
        axes.set_xlabel('examples / s')
        axes.set_title(network, fontsize=9, loc='left')
        quiet(axes)
    save_figure(figure, path, dpi=120)
