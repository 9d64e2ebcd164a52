"""Hashes of code that is the user's own: a network's class, a registered function, what they use.

What is hashed is the compiled code as it is loaded: in a notebook there may be no file, and a file
may have been edited since it was imported. Comments, the wording of docstrings, names of files and
numbers of lines do not count. Code of ftjax, of the standard library and of installed packages is
left out: commit and versions describe it. Of a thing that is itself of an installed package whose
version no run records, such as a network, the code of that package counts too.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import pathlib
import site
import sys
import sysconfig
import types
from collections.abc import Iterable, Mapping
from typing import Any

from ftjax.io.files.file_hashes import file_hashes

PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis))
VALUES = (tuple, list, dict, set, frozenset)
# Of every class, or made by dataclasses and flax from what is hashed anyway.
_LEFT_OUT = {
    *('__module__', '__qualname__', '__dict__', '__weakref__', '__doc__', '__slots__'),
    *('__annotations__', '__annotate__', '__abstractmethods__', '_abc_impl', '__parameters__'),
    *('__orig_bases__', '__match_args__', '__static_attributes__', '__firstlineno__'),
    *('__dataclass_params__', '__dataclass_fields__', '__init__', '__eq__', '__hash__'),
    *('__repr__', 'parent', 'scope', '_state', '_parent_ref'),
}
RECORDED = {
    *('ftjax', 'jax', 'jaxlib', 'flax', 'optax', 'orbax', 'numpy', 'scipy', 'sklearn', 'grain'),
    *('PIL', 'tokenizers', 'tensorflow_datasets'),
}
"""The modules of the packages whose versions a run records, see process/provenance.py."""
_GENERATED = '__create_fn__'  # how dataclasses call what they compile


def code_identity(things: Mapping[str, object]) -> dict[str, object]:
    """Hashes of the user's own among some classes, functions and objects, by their names here.

    {} where none is. `python` is the version that compiled the code: another gives other
    hashes, and then `files` (name to SHA-256 of the whole file) are what can be compared.
    """
    parts, files = {}, set()
    for name, thing in things.items():
        reader = _Reader(_package_of(thing))
        reader.read(thing)
        if reader.files:
            parts[name] = reader.digest.hexdigest()
            files |= reader.files
    if not parts:
        return {}
    there = sorted(file for file in files if os.path.isfile(file))
    hashes = {pathlib.Path(f).name: x for f, x in zip(there, file_hashes(there), strict=True)}
    return {
        'python': f'{sys.version_info.major}.{sys.version_info.minor}',
        'parts': parts,
        'files': hashes,
    }


@functools.cache
def _installed() -> tuple[str, ...]:
    """Folders of installed packages."""
    places = [sysconfig.get_paths()[name] for name in ('purelib', 'platlib')]
    return _both_forms([*places, *site.getsitepackages(), site.getusersitepackages()])


@functools.cache
def _foreign() -> tuple[str, ...]:
    """Folders whose code is not the user's."""
    places = [sysconfig.get_paths()[name] for name in ('stdlib', 'platstdlib')]
    return *_installed(), *_both_forms([*places, pathlib.Path(__file__).resolve().parents[2]])


def _both_forms(folders: Iterable[str | os.PathLike[str]]) -> tuple[str, ...]:
    return tuple({os.path.join(form, '') for p in folders for form in (p, os.path.realpath(p))})


def _package_of(thing: object) -> tuple[str, ...]:
    """Where the installed package of a thing lies; () of one whose version every run records."""
    kind = thing if isinstance(thing, type | types.FunctionType) else type(thing)
    name = kind.__module__.partition('.')[0]
    top = sys.modules.get(name)
    folders = [*getattr(top, '__path__', ())]
    places = _both_forms(folders) if folders else (str(getattr(top, '__file__', '')),)
    return places if name not in RECORDED and places[0].startswith(_installed()) else ()


class _Reader:
    """Feeds one thing, and all of the user's own that it uses, to a hash."""

    def __init__(self, package: tuple[str, ...] = ()):
        self.package = package
        """Where installed code lies that counts too."""
        self.digest = hashlib.sha256()
        self.seen: dict[int, tuple[int, object]] = {}
        self.inside: set[int] = set()
        self.files: set[str] = set()
        """Files of own code that were met; `<string>` and its like for code without one."""

    def feed(self, *words: object) -> None:
        for word in words:
            data = word if isinstance(word, bytes) else str(word).encode('utf-8', 'surrogatepass')
            self.digest.update(f'{len(data)}:'.encode() + data)

    def read(self, thing: Any) -> None:
        """Anything that code may refer to."""
        if isinstance(thing, PLAIN):
            self.feed(type(thing).__name__, repr(thing))
            return
        if isinstance(thing, VALUES):
            self.value(thing)
            return
        if id(thing) in self.seen:
            self.feed('again', self.seen[id(thing)][0])
            return
        # The thing is kept, so that no other gets its id meanwhile.
        self.seen[id(thing)] = len(self.seen), thing
        while hasattr(thing, '__wrapped__') and not isinstance(thing, type):
            thing = thing.__wrapped__
        match thing:
            case types.FunctionType():
                self.function(thing)
            case types.MethodType() | staticmethod() | classmethod():
                self.read(thing.__func__)
            case property():
                self.all_of((thing.fget, thing.fset, thing.fdel))
            case functools.cached_property():
                self.read(thing.func)
            case functools.partial():
                self.all_of((thing.func, thing.args, thing.keywords))
            case type():
                self.cls(thing)
            case types.ModuleType():
                self.module(thing)
            case _ if hasattr(thing, 'dtype') and hasattr(thing, 'tobytes'):
                self.feed('array', thing.dtype, thing.shape, thing.tobytes())
            case _:
                self.instance(thing)

    def value(self, thing: Any) -> None:
        """A container, by what it holds; one that holds itself only once."""
        self.feed(type(thing).__name__)
        if id(thing) in self.inside:
            return
        self.inside.add(id(thing))
        if isinstance(thing, set | frozenset):
            self.feed(*sorted(map(repr, thing)))
        elif isinstance(thing, dict):
            self.all_of(part for pair in thing.items() for part in pair)
        else:
            self.all_of(thing)
        self.inside.remove(id(thing))

    def all_of(self, things: Iterable[object]) -> None:
        for thing in things:
            self.read(thing)
        self.feed('end')

    def function(self, thing: types.FunctionType) -> None:
        code = thing.__code__
        self.feed('function', thing.__qualname__)
        if code.co_qualname.startswith(_GENERATED):  # from what is hashed anyway
            return
        if not self.is_own(code.co_filename):
            self.feed(thing.__module__)
            return
        self.files.add(code.co_filename)
        self.code(code, thing.__doc__)
        self.all_of((thing.__defaults__, thing.__kwdefaults__))
        for cell in thing.__closure__ or ():
            try:
                self.read(cell.cell_contents)
            except ValueError:  # a name that is not bound yet
                self.feed('empty')
        for name in sorted(_names(code) & set(thing.__globals__)):
            self.feed(name)
            self.read(thing.__globals__[name])

    def code(self, code: types.CodeType, doc: str | None = None) -> None:
        self.feed(code.co_code, code.co_exceptiontable, code.co_flags)
        self.feed(code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
        self.feed(*code.co_names, '|', *code.co_varnames, '|', *code.co_freevars, *code.co_cellvars)
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                self.code(constant)
            elif doc is None or constant != doc:
                self.read(constant)

    def cls(self, thing: type) -> None:
        for each in thing.__mro__:
            self.feed('class', each.__qualname__)
            file = self.file_of(each)
            if file is None:
                self.feed(each.__module__)
                continue
            self.files.add(file)
            for name, value in sorted(vars(each).items()):
                if name not in _LEFT_OUT or self.written(value):
                    self.feed(name)
                    self.read(value)

    def module(self, thing: types.ModuleType) -> None:
        self.feed('module', thing.__name__.rpartition('.')[2])
        file = getattr(thing, '__file__', None)
        if file is None or not self.is_own(file):
            return
        for name, value in sorted(vars(thing).items()):
            made_here = getattr(value, '__module__', None) == thing.__name__
            if made_here or (isinstance(value, PLAIN) and not name.startswith('__')):
                self.feed(name)
                self.read(value)

    def instance(self, thing: object) -> None:
        self.read(type(thing))
        if hasattr(thing, 'wrapped'):  # flax's descriptors hold the property that was written
            self.read(thing.wrapped)
        if dataclasses.is_dataclass(thing):
            # Numbers and names among a network's fields stand in its description.
            values = [getattr(thing, f.name, None) for f in dataclasses.fields(thing)]
            self.all_of(value for value in values if not _is_plain(value))
        elif self.file_of(type(thing)) is not None:
            self.all_of(getattr(thing, '__dict__', {}).values())

    def is_own(self, file: str) -> bool:
        """Whether code of a file counts."""
        return file.startswith(self.package) or not file.startswith(('<frozen', *_foreign()))

    def written(self, value: object) -> bool:
        """Whether a method was written by the user, not made by dataclasses or flax."""
        while hasattr(value, '__wrapped__'):
            value = value.__wrapped__
        code = getattr(value, '__code__', None)
        return (
            code is not None
            and self.is_own(code.co_filename)
            and not code.co_qualname.startswith(_GENERATED)
        )

    def file_of(self, cls: type) -> str | None:
        """The file of a class whose code counts, <module> where there is none; None for others."""
        module = sys.modules.get(cls.__module__)
        file = getattr(module, '__file__', None)
        if file is not None:
            return file if self.is_own(file) else None
        if module is None or cls.__module__ == '__main__':
            return f'<{cls.__module__}>'
        return None


def _is_plain(value: object) -> bool:
    """Whether it is a number, a text, or holds nothing else."""
    if isinstance(value, dict):
        value = (*value.keys(), *value.values())
    return isinstance(value, PLAIN) or (
        isinstance(value, VALUES) and all(_is_plain(part) for part in value)
    )


def _names(code: types.CodeType) -> set[str]:
    """All names that a function and those within it look up."""
    inner = [_names(part) for part in code.co_consts if isinstance(part, types.CodeType)]
    return set(code.co_names).union(*inner)
