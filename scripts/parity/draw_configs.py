"""Draws odd configurations and compares them with transformers: results/parity/draws.{md,json}.

    python scripts/parity/draw_configs.py [--model_types=gemma3_text,albert] [--draws=200]

Needs the parity extra. Draw and judgement are those of tests/pretrained/test_drawn_configs.py; a
draw is equal (outputs within 1e-4 of the largest), refused here, one of which transformers itself
can make no model, or wrong. Rows of other model types stay as they are. Two to seven minutes a
model type on one core.
"""

from __future__ import annotations

import collections
import json
import pathlib
import sys
import tempfile

from absl import flags

from ftjax.cli import launch
from ftjax.errors import check_name
from ftjax.io.process.provenance import git_state

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUTPUT = flags.DEFINE_string('output', str(ROOT / 'results' / 'parity'), 'Folder to write to.')
TYPES = flags.DEFINE_list('model_types', None, 'Of config.json; all if left out.')
DRAWS = flags.DEFINE_integer('draws', 200, 'Of each.', lower_bound=1)
OUTCOMES = ('equal', 'refused', 'no model', 'wrong')


def main() -> None:
    sys.path.insert(0, str(ROOT / 'tests' / 'pretrained'))
    from drawn_comparison import judged
    from drawn_configs import MODEL_TYPES

    file = pathlib.Path(OUTPUT.value) / 'draws.json'
    wanted = [check_name(x, MODEL_TYPES, 'model type') for x in TYPES.value or MODEL_TYPES]
    for model_type in wanted:
        counts, wrong = collections.Counter(), []
        for number in range(DRAWS.value):
            with tempfile.TemporaryDirectory() as folder:
                outcome = judged(model_type, number, pathlib.Path(folder) / 'model')
            known = outcome in OUTCOMES
            counts[outcome if known else 'wrong'] += 1
            wrong += [] if known else [[number, outcome]]
        row = {'model_type': model_type, 'draws': DRAWS.value, 'of_wrong': wrong}
        row |= {name: counts[name] for name in OUTCOMES}
        row['commit'] = str((git_state(ROOT) or {}).get('commit') or '')
        rows = json.loads(file.read_text()) if file.exists() else []
        rows = [old for old in rows if old['model_type'] != model_type] + [row]
        rows.sort(key=lambda row: list(MODEL_TYPES).index(row['model_type']))
        file.write_text(json.dumps(rows, indent=1) + '\n')
        file.with_suffix('.md').write_text(markdown(rows))
        print(f'{model_type:24} {dict(counts)}', flush=True)


def markdown(rows: list[dict]) -> str:
    """The page."""
    lines = [
        '# Odd configurations, drawn and compared',
        '',
        'For each model type, draws of one to three fields of its configuration class in',
        'transformers at other values than their defaults, on tiny random models. Equal: outputs',
        'within 1e-4 of the largest; refused: by ftjax, with a message; no model: transformers can',
        'make none, or run none. Made by `python scripts/parity/draw_configs.py`, row by row.',
        '',
        '| model type | draws | equal | refused | no model | wrong | commit |',
        '|---|---:|---:|---:|---:|---:|---|',
    ]
    for row in rows:
        counts = ' | '.join(str(row[name]) for name in OUTCOMES)
        lines.append(f'| {row["model_type"]} | {row["draws"]} | {counts} | {row["commit"][:7]} |')
    return '\n'.join([*lines, ''])


if __name__ == '__main__':
    launch.run(main)
