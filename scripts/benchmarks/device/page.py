"""gpu.json and gpu.md of what the sections of the device suite have written.

python -m benchmarks.device.page OUT
"""

from __future__ import annotations

import importlib.metadata
import json
import pathlib
import subprocess
import sys
from typing import Any

from benchmarks.device.report import short

SECTIONS = (
    ('smoke', 'Tests marked `gpu`'),
    ('vision_steps', 'ViT-B/16, 224 px, batch 128, bfloat16'),
    ('vision_frozen', 'The same, most of it frozen'),
    ('language_steps', 'BERT-base, 128 tokens; a Llama of 1.1 billion parameters, 1,024 tokens'),
    ('stored_features', 'Steps from stored features'),
    ('resnet_steps', 'ResNet-50, 224 px, batch 128'),
    ('jpeg_input', 'A folder of JPEG files'),
    ('compiler_flags', 'Flags of the GPU compiler'),
)
TEXT = """\
A training step is AdamW on a batch that lies on the device; compute in bfloat16, trained weights
and moments in float32, on both sides. Ours is the program that a run calls, eight steps a call.
PyTorch's are autocast steps with fused AdamW, `F.scaled_dot_product_attention`, eager and through
`torch.compile`. Columns that end in `_over_ftjax` are the time of a step there over ours, median of
rounds in turn in one process; spread is their range. `ideal_TFLOP` is the arithmetic that the
step needs, in closed form (scripts/benchmarks/ideal_vit.py); `MFU` is that over time and the data
sheet's dense bfloat16 rate, `of_measured_product` over the rate of a matrix product measured in
the same process. `forecast_over_peak` is the memory that `scripts/plan.py` forecasts over the peak
that the device reports. `tokens_of_logits` is the most tokens whose logits our program holds at
once. `flag_over_ftjax` is the time of a step with a compiler flag over that without: below 1 it
helps; `loss_gap` is the largest difference of their losses.
"""


def write(out: pathlib.Path, tiny: bool = False) -> None:
    """Reads the sections in `out` and writes both files there."""
    sections = {}
    for name, _ in SECTIONS:
        file = out / f'{name}.json'
        if file.exists():
            sections[name] = json.loads(file.read_text('utf-8'))
    device = device_name()
    notes = out / 'notes.md'  # what somebody says of the numbers, written by hand
    about: dict[str, Any] = {
        'device': device,
        'tiny': tiny,
        'versions': versions(),
        'sections': sections,
    }
    about['notes'] = notes.read_text('utf-8').splitlines() if notes.exists() else []
    (out / 'gpu.json').write_text(json.dumps(about, indent=1) + '\n', encoding='utf-8')
    (out / 'gpu.md').write_text(page(about), encoding='utf-8')


def page(about: dict[str, Any]) -> str:
    """The page of all sections."""
    made = ', '.join(f'{name} {version}' for name, version in about['versions'].items())
    tiny = ' TINY SIZES: a rehearsal, no measurement.' if about['tiny'] else ''
    lines = ['# ftjax on a GPU\n', f'Device: {about["device"]}.{tiny} {made}.', 'Made by']
    lines += ['`bash scripts/device_suite.sh OUT`.\n', TEXT]
    for name, title in SECTIONS:
        lines.append(f'## {title}\n')
        found = about['sections'].get(name)
        if found is None:
            lines.append('Not measured.\n')
            continue
        rates = [
            f'{key.replace("_", " ")} {short(found[key] / 1e12)} TFLOP/s'
            for key in ('product_rate', 'sheet_rate')
            if found.get(key)
        ]
        if rates:
            lines.append(f'Of a bfloat16 matrix product: {", ".join(rates)}.\n')
        for kind in dict.fromkeys(row['kind'] for row in found['rows']):
            lines += table([row for row in found['rows'] if row['kind'] == kind])
        lines += [f'- left out: {text}' for text in found.get('left_out', ())]
        if found.get('ended'):
            lines.append(f'- ended: {found["ended"]}')
        lines.append('')
    lines += about['notes']
    return '\n'.join(lines)


def table(rows: list[dict[str, Any]]) -> list[str]:
    """A Markdown table of rows that need not have the same columns."""
    columns = [c for c in dict.fromkeys(c for row in rows for c in row) if c != 'kind']
    columns = [c for c in columns if any(row.get(c) is not None for row in rows)]
    lines = [
        '| ' + ' | '.join(c.replace('_', ' ') for c in columns) + ' |',
        '|' + ' ---: |' * len(columns),
    ]
    for row in rows:
        cells = ['' if row.get(c) is None else short(row[c]).replace('|', '/') for c in columns]
        lines.append('| ' + ' | '.join(cells) + ' |')
    return [*lines, '']


def device_name() -> str:
    """As the driver says it; the CPU's kind without one."""
    try:
        query = ['nvidia-smi', '--query-gpu=name,driver_version', '--format=csv,noheader']
        found = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
        name, driver = (part.strip() for part in found.stdout.splitlines()[0].split(','))
        return f'one {name}, driver {driver}'
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return 'a CPU, no GPU found'


def versions() -> dict[str, str]:
    """Of what takes part, where it is installed."""
    found = {'Python': sys.version.split()[0]}
    for name in ('jax', 'flax', 'optax', 'torch', 'transformers', 'timm', 'peft'):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


if __name__ == '__main__':
    write(pathlib.Path(sys.argv[1]), 'tiny' in sys.argv[2:])
