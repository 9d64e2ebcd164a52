"""Measures parity with PyTorch, family by family, and writes results/parity/table.{md,json}.

    python scripts/parity/parity_table.py [--output=results/parity] [--families='Gemma,Gemma 2']

Needs the parity extra (torch, transformers): every case of the parity tests is run live. With
--families the rows of those alone are measured, and the others stay as they are. A row is the
worst over a family's cases from one source: relative errors of stages' outputs, of gradients and
(BatchNorm) of one SGD step, in float32 on a CPU, and whether the checkpoint came back bit for
bit. Expected: stages below 1e-5, gradients below 1e-4, all bitwise.
"""

from __future__ import annotations

import json
import pathlib
import sys
import tempfile

from absl import flags

from ftjax.cli import launch
from ftjax.errors import check_name

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUTPUT = flags.DEFINE_string('output', str(ROOT / 'results' / 'parity'), 'Folder to write to.')
FAMILIES = flags.DEFINE_list('families', None, 'Names in the first column; all if left out.')
ERRORS = ('stage_error', 'gradient_error', 'step_error')


def main() -> None:
    sys.path.insert(0, str(ROOT / 'tests' / 'pretrained'))
    import torch
    import transformers
    from parity_cases import all_cases
    from parity_torch import check_live

    output = pathlib.Path(OUTPUT.value)
    kept, cases = [], all_cases()
    if FAMILIES.value:
        known = {case.family for case in cases.values()}
        wanted = {check_name(name, known, 'family') for name in FAMILIES.value}
        cases = {name: case for name, case in cases.items() if case.family in wanted}
        kept = json.loads((output / 'table.json').read_text())
        kept = [row for row in kept if row['family'] not in wanted]
    measured = []
    for name, case in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            measured.append(check_live(case, pathlib.Path(folder)).row)
        print(f'{name:32} {measured[-1]}')
    rows = in_order([*kept, *worst(measured)])
    versions = {'torch': torch.__version__, 'transformers': transformers.__version__}
    output.mkdir(parents=True, exist_ok=True)
    (output / 'table.json').write_text(json.dumps(rows, indent=2) + '\n')
    (output / 'table.md').write_text(markdown(rows, versions))
    print(f'wrote {output / "table.md"}: {len(measured)} cases, {len(rows)} rows')


def worst(measured: list[dict]) -> list[dict]:
    """One row for each family and source, with the largest error of its cases."""
    rows: dict[tuple[str, str], dict] = {}
    for row in measured:
        first = {**row, 'cases': 0, 'round_trip': 'bitwise'}
        kept = rows.setdefault((row['family'], row['source']), first)
        kept['cases'] += 1
        for error in ERRORS:
            if error in row:
                kept[error] = max(kept.get(error, 0.0), row[error])
        if row['round_trip'] != 'bitwise':
            kept['round_trip'] = row['round_trip']
    return list(rows.values())


def in_order(rows: list[dict]) -> list[dict]:
    """By family, then by whose names they are."""
    return sorted(rows, key=lambda row: (row['family'].lower(), row['source']))


def markdown(rows: list[dict], versions: dict[str, str]) -> str:
    """The table for people."""
    lines = [
        '# Parity with PyTorch',
        '',
        'Tiny models with random weights, saved to disk and opened by ftjax; float32 on a CPU.',
        'Errors are the largest over all cases, relative to the largest value of the tensor.',
        f'Written by `python scripts/parity/parity_table.py` with torch {versions["torch"]} and '
        f'transformers {versions["transformers"]}.',
        '',
        '| family | names of | cases | outputs of stages | gradients | SGD step | round trip |',
        '|---|---|---|---|---|---|---|',
    ]
    for row in rows:
        errors = ' | '.join(f'{row[e]:.1e}' if e in row else '' for e in ERRORS)
        first = f'{row["family"]} | {row["source"]} | {row["cases"]}'
        lines.append(f'| {first} | {errors} | {row["round_trip"]} |')
    return '\n'.join([*lines, ''])


if __name__ == '__main__':
    launch.run(main)
