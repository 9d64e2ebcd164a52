"""Measures ftjax beside PyTorch, or beside what the arithmetic needs; one benchmark a call.

    python scripts/benchmark.py probe
    python scripts/benchmark.py cached repeats=3 --out=results/benchmarks

Benchmarks are the modules of scripts/benchmarks that have a function `run(folder, ..)`; its
other parameters are set by NAME=VALUE. Each writes NAME.json and NAME.md. Those beside PyTorch
need the extra `parity`.
"""

import ast
import importlib
import inspect
import pathlib
import re
import sys

from absl import flags

from ftjax.cli import launch

WHAT = flags.DEFINE_string('what', None, 'Which benchmark; also the first word after the script.')
SET = flags.DEFINE_multi_string('set', [], 'NAME=VALUE of a benchmark; also a word of its own.')
OUT = flags.DEFINE_string('out', 'results/benchmarks', 'Folder that results are written to.')
BENCHMARK = r'(?m)^def run\(\s*folder'
FOLDER = pathlib.Path(__file__).parent / 'benchmarks'


def main():
    from ftjax.errors import UserError, check_name

    names = [p.stem for p in FOLDER.glob('*.py') if re.search(BENCHMARK, p.read_text('utf-8'))]
    if WHAT.value is None:
        raise UserError(f'which benchmark? There are {", ".join(sorted(names))}')
    name = check_name(WHAT.value, names, 'benchmark')
    run = importlib.import_module(f'benchmarks.{name}').run
    known = [key for key in inspect.signature(run).parameters if key != 'folder']
    options = dict(read_option(word) for word in SET.value)
    for key in options:
        check_name(key, known, f'option of {name}:')
    try:
        run(pathlib.Path(OUT.value), **options)
    except ModuleNotFoundError as error:
        if error.name != 'torch':
            raise
        raise UserError(
            f"{name} measures beside PyTorch, which is not installed: pip install 'ftjax[parity]'"
        ) from None


def read_option(word):
    """(name, value) of NAME=VALUE; a value that is no Python literal is text."""
    from ftjax.errors import UserError

    name, equals, value = word.partition('=')
    if not equals:
        raise UserError(f'unexpected argument {word!r}; expected NAME=VALUE')
    try:
        return name, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return name, value


def as_flags(argv):
    """The words that are no flags as the flags they stand for: `probe images=9`."""
    first, words = argv[:1], argv[1:]
    plain = [word for word in words if not word.startswith('-')]
    named = any(word.lstrip('-').startswith('what') for word in words if word.startswith('-'))
    what = [] if named else [f'--what={word}' for word in plain[:1]]
    rest = [f'--set={word}' for word in plain[len(what) :]]
    return [*first, *what, *rest, *(word for word in words if word.startswith('-'))]


if __name__ == '__main__':
    launch.run(main, as_flags(sys.argv))
