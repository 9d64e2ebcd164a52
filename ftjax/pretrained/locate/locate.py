"""From an init string to a folder: what `config.init` may say."""

from __future__ import annotations

import dataclasses
import difflib
import os
import pathlib
import re

from ftjax.errors import UserError, check_name, did_you_mean, shown
from ftjax.io.files.presence import existing
from ftjax.models.registry import is_recipe
from ftjax.pretrained.readers import TensorSource
from ftjax.registry import parts

SHIPPED = pathlib.Path(__file__).resolve().parents[1] / 'weights'
RANDOM = 'random:'


@dataclasses.dataclass(frozen=True)
class Location:
    """Where a checkpoint is."""

    path: pathlib.Path
    """A folder, or a weights file."""
    revision: str | None = None
    """The commit, for what comes from the hub."""
    headers: TensorSource | None = None
    """Names and shapes of tensors that were left on the hub; None where the file is here."""


def data_folder() -> pathlib.Path:
    """The optional data folder: FTJAX_DATA, or ../shared/data beside the repository."""
    default = pathlib.Path(__file__).resolve().parents[4] / 'shared' / 'data'
    return pathlib.Path(os.environ.get('FTJAX_DATA') or default)


def locate(init: str, *, weights: bool = True) -> Location:
    """Finds what an init string (without 'random:') names.

    Known are the shipped networks by name ('glyphs', 'docstrings' and others), 'data:NAME'
    below the data folder, 'hf://ORG/NAME[/SUBFOLDER][@REVISION]', and the path of a folder, an
    adapter of PEFT, a weights file, a run, a run's checkpoints (the best is taken) or one of them,
    RUN/checkpoints/STEP. An environment variable may be part of a path, $MINILM: the config then
    names no folder of one machine.

    Args:
      init: the string.
      weights: False if only the configuration will be read; spares a download.

    Raises:
      UserError: there is no such thing; the nearest right name is given.
    """
    if init.startswith('hf://'):
        from ftjax.pretrained.locate.hub import fetch

        return Location(*fetch(init, weights=weights))
    shipped = [folder.parent.name for folder in sorted(SHIPPED.glob('*/config.json'))]
    if init in shipped:
        return Location(SHIPPED / init)
    if init.startswith('data:'):
        return Location(_below_data(init.removeprefix('data:')))
    path = existing(_with_variables(init))
    if path is None:
        own = [name for name in parts('model') if is_recipe(name)]
        schemes = [*shipped, *own, 'data:NAME', 'hf://ORG/NAME']
        near = _sibling(init) or did_you_mean(init, schemes)
        if re.fullmatch(r'[\w-][\w.-]*/[\w.-]+', init) and not pathlib.Path(init).parent.is_dir():
            near = f"if it is a repository of the hub, write 'hf://{init}'"
        raise UserError(
            f'no pretrained network {shown(init, 200)}: not a file or folder here, and not one of '
            f'{", ".join(schemes)}; {near}'
        )
    return Location(_in_run(path))


def _sibling(init: str) -> str:
    """What lies in the folder of a missing path and has nearly its name; '' for nothing."""
    folder, name = os.path.split(init)
    try:
        names = os.listdir(folder) if folder else []
    except (OSError, ValueError):  # no such folder; a name that no path has
        return ''
    near = difflib.get_close_matches(name[:200], names, n=1, cutoff=0.75)
    return f'in {folder}, did you mean {near[0]!r}?' if near else ''


def _with_variables(init: str) -> str:
    """`init` with `$NAME` and `${NAME}` put in, $FTJAX_DATA with its default."""
    known = {**os.environ, 'FTJAX_DATA': str(data_folder())}

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if not known.get(name):
            short = shown(name, 100)[1:-1]
            raise UserError(
                f'config.init is {shown(init, 200)}, and the environment variable {short} is '
                f'not set; export {short}=FOLDER'
            )
        return known[name]

    return re.sub(r'\$(?:(\w+)|\{(\w+)\})', value, init)


def _below_data(name: str) -> pathlib.Path:
    folder = data_folder()
    if not folder.is_dir():
        raise UserError(
            f'data:{shown(name, 200)[1:-1]}: there is no data folder {folder}; set FTJAX_DATA to '
            'where it is'
        )
    known = [file.parent.name for file in sorted(folder.glob('*/*.safetensors'))]
    return folder / check_name(name, known, f'checkpoint in {folder}:')


def _in_run(path: pathlib.Path) -> pathlib.Path:
    """A run's folder means the network it trained, which is in `model` below it."""
    if path.is_dir() and (path / 'plan.json').exists() and not any(path.glob('*.safetensors')):
        if not (path / 'model' / 'config.json').exists():
            raise UserError(
                f'{path} is a run that has not finished: it holds no network in model/; '
                'run it again to continue it'
            )
        return path / 'model'
    return path
