"""Hashes of code that is the user's own: a network's class, a registered function, what they use.

What is hashed is the compiled code as it is loaded: in a notebook there may be no file, and a file
may have been edited since it was imported. Comments, the wording of docstrings, names of files and
numbers of lines do not count. Code of ftjax, of the standard library and of installed packages is
left out: commit and versions describe it. Of a thing that is itself of an installed package whose
version no run records, such as a network, the code of that package counts too.

Code may fill its own dicts, lists and globals as it runs: they count as they were when this
process first looked, which is when a part is first asked for.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import pathlib
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ftjax import registry
from ftjax.io.files.file_hashes import file_hashes
from ftjax.io.identity.code_places import foreign, package_of
from ftjax.io.identity.first_contents import contents, global_value
from ftjax.io.identity.plain_values import PLAIN, VALUES, is_plain, made_from

# Of every class, or made by dataclasses and flax from what is hashed anyway.
_LEFT_OUT = {
    *('__module__', '__qualname__', '__dict__', '__weakref__', '__doc__', '__slots__'),
    *('__annotations__', '__annotate__', '__abstractmethods__', '_abc_impl', '__parameters__'),
    *('__orig_bases__', '__match_args__', '__static_attributes__', '__firstlineno__'),
    *('__dataclass_params__', '__dataclass_fields__', '__init__', '__eq__', '__hash__'),
    *('__repr__', 'parent', 'scope', '_state', '_parent_ref'),
}
RULES = 2
"""Of what is read. 2 (since 0.3): rules of derivatives, decorators, patterns, functions without
Python code, and sets by what they hold. Hashes by other rules do not compare."""
_GENERATED = '__create_fn__'  # how dataclasses call what they compile


def code_identity(things: Mapping[str, object]) -> dict[str, object]:
    """Hashes of the user's own among some classes, functions and objects, by their names here.

    {} where none is. `python` is the version that compiled the code and `rules` how it was read:
    others give other hashes, and then `files` (name to SHA-256 of the whole file) are what can be
    compared.
    """
    parts, files = {}, set()
    for name, thing in things.items():
        reader = _Reader(package_of(thing))
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
        'rules': RULES,
        'parts': parts,
        'files': hashes,
    }


def keep_first(thing: object) -> None:
    """Notes the contents of what a thing's code may fill, before it runs."""
    _Reader(package_of(thing)).read(thing)


class _Reader:
    """Feeds one thing, and all of the user's own that it uses, to a hash."""

    def __init__(self, package: tuple[str, ...] = ()):
        self.package = package
        """Where installed code lies that counts too."""
        self.digest = hashlib.sha256()
        self.seen: dict[int, tuple[int, object]] = {}
        self.inside: set[int] = set()
        self.stored: dict[int, set[str]] = {}
        """Of each module's globals, those that its functions set."""
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
        layers = []
        while hasattr(thing, '__wrapped__') and not isinstance(thing, type):
            layers.append(thing)
            thing = thing.__wrapped__
        self.bare(thing)
        if layers:
            self.layers(layers, thing)

    def bare(self, thing: Any) -> None:
        """What is not decorated."""
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

    def layers(self, layers: list[Any], inner: object) -> None:
        """Decorators of the user's own, and own functions that others hold: a gradient's rule."""
        met = {id(inner), *map(id, layers)}
        file = getattr(getattr(inner, '__code__', None), 'co_filename', '')
        for layer in layers:
            code = getattr(layer, '__code__', None)
            # What a library generates has a name in brackets.
            if code is not None and self.is_own(code.co_filename):
                if code.co_filename == file or not code.co_filename.startswith('<'):
                    self.function(layer)
                continue
            for held in self.held(layer, met):
                self.read(held)

    def held(self, thing: Any, met: set[int]) -> Iterator[object]:
        """Own functions in what a foreign decorator made."""
        inner: Iterable[Any] = ()
        match thing:
            case types.FunctionType():
                inner = [cell.cell_contents for cell in thing.__closure__ or ()]
            case tuple() | list():
                inner = thing
            case dict():
                inner = thing.values()
            case functools.partial():
                inner = (thing.func, *thing.args, *thing.keywords.values())
            case _ if hasattr(thing, '__wrapped__') and not isinstance(thing, type):
                inner = getattr(thing, '__dict__', {}).values()
        for each in inner:
            if id(each) in met:
                continue
            met.add(id(each))
            if isinstance(each, types.FunctionType) and self.is_own(each.__code__.co_filename):
                yield each
            else:
                yield from self.held(each, met)

    def value(self, thing: Any) -> None:
        """A container, by what it holds; one that holds itself only once."""
        self.feed(type(thing).__name__)
        if id(thing) in self.inside:
            return
        self.inside.add(id(thing))
        holds = contents(thing)
        if isinstance(holds, set | frozenset):
            self.feed(*sorted(map(repr, holds) if is_plain(holds) else map(self.digest_of, holds)))
        elif isinstance(holds, dict):
            self.all_of(part for pair in holds.items() for part in pair)
        else:
            self.all_of(holds)
        self.inside.remove(id(thing))

    def digest_of(self, thing: object) -> str:
        """The hash of one thing by itself, for what has no order."""
        alone = _Reader(self.package)
        alone.read(thing)
        self.files |= alone.files
        return alone.digest.hexdigest()

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
            self.read(global_value(thing.__globals__, name, self.stored))

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
            self.all_of(value for value in values if not is_plain(value))
        elif self.file_of(type(thing)) is not None:
            self.all_of(getattr(thing, '__dict__', {}).values())
        elif callable(thing) and isinstance(name := getattr(thing, '__name__', None), str):
            self.feed(getattr(thing, '__module__', None), name)  # of C code: a ufunc, a builtin
        else:
            self.feed(*made_from(thing))

    def is_own(self, file: str) -> bool:
        """Whether code of a file counts."""
        return file.startswith(self.package) or not file.startswith(('<frozen', *foreign()))

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


def _names(code: types.CodeType) -> set[str]:
    """All names that a function and those within it look up."""
    inner = [_names(part) for part in code.co_consts if isinstance(part, types.CodeType)]
    return set(code.co_names).union(*inner)


registry.BEFORE_USE.append(keep_first)
