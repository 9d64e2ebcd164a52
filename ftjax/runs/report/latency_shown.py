"""Latency of a run, as scripts/latency.py measured it: tables of a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftjax.io.json.json_values import JsonObject
from ftjax.pages.elements import facts, flat, paragraph, table
from ftjax.plotting import number_formats

_TIMES = ('p50_ms', 'p95_ms', 'p99_ms')


def latency_shown(found: Mapping[str, Any] | None) -> str:
    """Milliseconds by precision and batch, what a precision changes, starts, the protocol."""
    if not found:
        return ''
    rows, lengths = found.get('rows', []), any('length' in row for row in found.get('rows', []))
    header = ['precision', 'batch', *(['tokens'] if lengths else []), 'median', 'p95', 'p99']
    cells = [
        [
            row['precision'],
            f'{row["batch_size"]:,}',
            *([f'{row.get("length", 0):,}'] if lengths else []),
            *(_milliseconds(row.get(name)) for name in _TIMES),
            number_formats.count(row['examples_per_second']),
            _mebibytes(row),
        ]
        for row in rows
    ]
    parts = [table([*header, 'examples a second', 'memory of the program'], cells)]
    changes = found.get('change', {})
    if changes:
        told = [
            [
                name,
                f'{row["largest_change"]:.3g} of {row["largest_output"]:.3g}',
                number_formats.share(row.get('share_of_answers_changed')),
                f'{row["examples"]:,} {row["of"]}',
            ]
            for name, row in changes.items()
        ]
        header = ['beside float32', 'largest change of an output', 'answers changed', 'on']
        parts.append(table(header, told))
    starts = found.get('start', {})
    if starts:
        words = {'cold': 'start with nothing compiled', 'warm': 'start with kept programs'}
        told = {
            words.get(k, k): number_formats.seconds(row['seconds']) for k, row in starts.items()
        }
        parts.append(facts(told))
    machine = dict(flat(found.get('machine') or {}))
    if machine:
        parts.append(facts(machine))
    parts.append(paragraph(found.get('protocol', ''), 'legend'))
    return '\n'.join(parts)


def _milliseconds(value: float | None) -> str:
    return '–' if value is None else f'{value:.3g} ms'


def _mebibytes(row: JsonObject) -> str:
    known = [row.get(f'{name}_bytes') for name in ('argument', 'temporary', 'output')]
    sizes = [size for size in known if size is not None]
    return f'{sum(sizes) / 2**20:,.1f} MiB' if sizes else '–'
