"""Measures parity with PyTorch, family by family, and writes results/parity/table.{md,json}.

    python scripts/parity/parity_table.py [--output=results/parity]

Needs the parity extra (torch, transformers): every case of the parity tests is run live. A
row is the worst over a family's cases from one source: relative errors of stages' outputs,
of gradients and (BatchNorm) of one SGD step, in float32 on a CPU, and whether the checkpoint
came back bit for bit. Expected: stages below 1e-5, gradients below 1e-4, all bitwise.
"""

from __future__ import annotations

import json
import pathlib
import sys
import tempfile

from absl import flags

from ftjax.cli import launch

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUTPUT = flags.DEFINE_string('output', str(ROOT / 'results' / 'parity'), 'Folder to write to.')
ERRORS = ('stage_error', 'gradient_error', 'step_error')


def main() -> None:
    sys.path.insert(0, str(ROOT / 'tests' / 'pretrained'))
    import torch
    import transformers
    from parity_cases import all_cases
    from parity_torch import check_live

    measured = []
    for name, case in all_cases().items():
        with tempfile.TemporaryDirectory() as folder:
            measured.append(check_live(case, pathlib.Path(folder)).row)
        print(f'{name:32} {measured[-1]}')
    rows = worst(measured)
    versions = {'torch': torch.__version__, 'transformers': transformers.__version__}
    output = pathlib.Path(OUTPUT.value)
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
    return [rows[key] for key in sorted(rows, key=lambda key: (key[0].lower(), key[1]))]


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
