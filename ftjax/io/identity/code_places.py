"""Where code lies that is not the user's: of ftjax, of Python, of installed packages."""

from __future__ import annotations

import functools
import os
import pathlib
import site
import sys
import sysconfig
import types
from collections.abc import Iterable

RECORDED = {
    *('ftjax', 'jax', 'jaxlib', 'flax', 'optax', 'orbax', 'numpy', 'scipy', 'sklearn', 'grain'),
    *('PIL', 'tokenizers', 'tensorflow_datasets'),
}
"""The modules of the packages whose versions a run records, see process/provenance.py."""


@functools.cache
def installed() -> tuple[str, ...]:
    """Folders of installed packages."""
    places = [sysconfig.get_paths()[name] for name in ('purelib', 'platlib')]
    return _both_forms([*places, *site.getsitepackages(), site.getusersitepackages()])


@functools.cache
def foreign() -> tuple[str, ...]:
    """Folders whose code is not the user's."""
    places = [sysconfig.get_paths()[name] for name in ('stdlib', 'platstdlib')]
    return *installed(), *_both_forms([*places, pathlib.Path(__file__).resolve().parents[2]])


def _both_forms(folders: Iterable[str | os.PathLike[str]]) -> tuple[str, ...]:
    return tuple({os.path.join(form, '') for p in folders for form in (p, os.path.realpath(p))})


def package_of(thing: object) -> tuple[str, ...]:
    """Where the installed package of a thing lies; () of one whose version every run records."""
    kind = thing if isinstance(thing, type | types.FunctionType) else type(thing)
    name = kind.__module__.partition('.')[0]
    top = sys.modules.get(name)
    folders = [*getattr(top, '__path__', ())]
    places = _both_forms(folders) if folders else (str(getattr(top, '__file__', '')),)
    return places if name not in RECORDED and places[0].startswith(installed()) else ()
