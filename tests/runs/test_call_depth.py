"""From scripts/train.py to the compiled step there are at most five functions of ours."""

import ast
import dataclasses
import pathlib
import sys

from ftjax.config import read_config
from ftjax.runs import run
from ftjax.runs.prepare import prepare
from ftjax.training.loop import step_runner

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = {
    'init': 'glyphs',
    'freeze': 'head',
    'data': {
        'source': 'digits:scattered',
        'examples_per_class': 5,
        'val_per_class': 5,
        'test_fraction': 0.03,
        'batch_size': 10,
    },
    'train': {'steps': 1, 'cache': 'off', 'report': False},
}


def frames():
    """(file, function) of ours, from the innermost outwards."""
    frame, found = sys._getframe(1), []
    while frame is not None:
        path = pathlib.Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT / 'ftjax') or path.is_relative_to(ROOT / 'scripts'):
            found.append((path.relative_to(ROOT).as_posix(), frame.f_code.co_name))
        frame = frame.f_back
    return found


def test_few_functions_lie_between_the_script_and_the_step(monkeypatch):
    seen, compiled = [], step_runner.program

    def program(*given, **options):
        known = compiled(*given, **options)

        class Watched:
            def __getattr__(self, name):
                return getattr(known.call, name)

            def __call__(self, *arguments):
                seen.append(frames())
                return known.call(*arguments)

        return dataclasses.replace(known, call=Watched())

    monkeypatch.setattr(step_runner, 'program', program)
    run.train(prepare(read_config(CONFIG)), progress=False)
    (below,) = seen
    assert below == [
        ('ftjax/training/loop/step_runner.py', 'steps'),
        ('ftjax/training/loop/fit.py', 'fit'),
        ('ftjax/runs/run.py', 'train'),
    ]
    script = ast.parse((ROOT / 'scripts' / 'train.py').read_text())
    main = next(node for node in script.body if getattr(node, 'name', '') == 'main')
    calls = {
        node.func.id
        for node in ast.walk(main)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert 'train' in calls  # by main itself: four in all
