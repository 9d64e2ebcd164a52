"""`python -m ftjax NAME ..` is `python scripts/NAME.py ..` without a checkout; so is `ftjax NAME`.

    python -m ftjax                      what there is
    python -m ftjax configs recipes      copies the recipes of configs/ into the folder recipes
    python -m ftjax train --config=recipes/finetune.py --workdir=runs/mine

In a wheel the scripts and recipes are in ftjax/shipped, in a checkout in scripts/ and configs/.
"""

from __future__ import annotations

import ast
import pathlib
import runpy
import shutil
import sys
from collections.abc import Sequence

USER = 2


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one script as the main program, or copies the recipes."""
    words = list(sys.argv[1:] if argv is None else argv)
    scripts = found('scripts')
    names = commands(scripts)
    if not words or words[0] in ('-h', '--help', '--helpfull'):
        print('usage: python -m ftjax NAME [flags]   (each has --help)\n')
        width = max(map(len, names))
        for name in names:
            print(f'  {name:<{width}}  {summary(scripts / f"{name}.py")}')
        print(f'  {"configs":<{width}}  Copies the recipes into a folder of yours: configs FOLDER.')
        return
    name, *rest = words
    if name == 'configs':
        copy_configs(rest)
        return
    if name not in names:
        from ftjax.errors import UserError, check_name

        try:
            check_name(name, (*names, 'configs'), 'script')
        except UserError as error:
            fail(str(error))
    path = scripts / f'{name}.py'
    sys.argv = [str(path), *rest]
    runpy.run_path(str(path), run_name='__main__')


def copy_configs(words: Sequence[str]) -> None:
    """Copies every recipe into the folder that is named; it must not be there yet."""
    if len(words) != 1:
        fail('expected one folder: python -m ftjax configs FOLDER')
    target = pathlib.Path(words[0])
    if target.exists():
        fail(f'{target} is there already; name a folder that is not')
    shutil.copytree(found('configs'), target, ignore=shutil.ignore_patterns('__pycache__'))
    recipes, books = (len(list(target.rglob(kind))) for kind in ('*.py', '*.ipynb'))
    print(f'{target}: {recipes} recipes, {books} tutorials; python -m ftjax train --config=..')


def found(name: str) -> pathlib.Path:
    """The folder `scripts` or `configs`, of a wheel or of a checkout."""
    here = pathlib.Path(__file__).resolve().parent
    shipped = here / 'shipped' / name
    return shipped if shipped.is_dir() else here.parent / name


def commands(scripts: pathlib.Path) -> list[str]:
    """Names of the scripts that start by themselves, not those that test or measure ftjax."""
    own = ('benchmark', 'device_suite', 'fuzzing', 'pages', 'reliability', 'tutorials')
    return [
        path.stem
        for path in sorted(scripts.glob('*.py'))
        if not path.stem.startswith(own) and "'__main__'" in path.read_text('utf-8')
    ]


def summary(path: pathlib.Path) -> str:
    """The first line of a script's docstring."""
    said = ast.get_docstring(ast.parse(path.read_text('utf-8'))) or ''
    return said.partition('\n')[0]


def fail(message: str) -> None:
    """Ends the process as every script does whose input is wrong."""
    print(f'error: {message}', file=sys.stderr)
    raise SystemExit(USER)


if __name__ == '__main__':
    main()
