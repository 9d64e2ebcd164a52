"""The one registry: whatever a config names is a function or class, registered by kind and name.

    from ftjax.registry import register


    @register('augmentation', 'dim', ranges={'share': between(0, 1)})
    def dim(image, key, share: float = 0.1):
        '''Makes the image darker by a random share.'''
        return image * (1 - share * jax.random.uniform(key))

written into a config file is enough: `config.data.augment='flip,dim:0.2'` finds it. Arguments are
those of the function that have defaults; what a part of a kind takes and returns stands in the
README.md of its room. Shipped modules are imported when a part of their kind is first asked for.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import inspect
import os
import pathlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ftjax.errors import UserError, check_name, did_you_mean, shown
from ftjax.part_arguments import place_of, read_value
from ftjax.part_kinds import KINDS
from ftjax.ranges import Range


@dataclasses.dataclass(frozen=True)
class Part:
    """One registered function or class."""

    kind: str
    name: str
    target: object
    """The function or class; 'module:attribute' for one that is imported when first used."""
    parameters: Mapping[str, object]
    """{argument: default}. An argument is of its default's type; None stands for a number."""
    ranges: Mapping[str, Range] = dataclasses.field(default_factory=dict)
    """Which numbers an argument takes; any where it is not named."""
    source: str = ''
    """Where the method is published."""
    details: Any = None
    """What else the kind needs to know: a dataclass of its own."""
    file: str = ''
    """The file that registered it."""

    @property
    def is_own(self) -> bool:
        """Whether a user registered it."""
        return not self.file.startswith((_OURS, 'ftjax.'))

    @functools.cached_property
    def function(self) -> Any:
        """The function or class, imported if it was not yet."""
        if self.is_own:
            for each in BEFORE_USE:
                each(self.target)
        if not isinstance(self.target, str):
            return self.target
        module, _, attribute = self.target.partition(':')
        found = importlib.import_module(module)
        return getattr(found, attribute) if attribute else found

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return (self.function.__doc__ or '').strip().split('\n')[0]

    @property
    def example(self) -> str:
        """A short string that names it: `last:1`, `head`."""
        return str(Term(self, self.parameters))


@dataclasses.dataclass(frozen=True)
class Term:
    """A part with its arguments bound: what `last:4` means. Two are equal if key is."""

    part: Part
    arguments: Mapping[str, Any]

    def __call__(self, *positional: object, **more: object) -> Any:
        return self.part.function(*positional, **more, **self.arguments)

    def __str__(self) -> str:
        """The name, and the arguments up to the last that is not the default, at least one."""
        defaults, values = self.part.parameters, list(self.arguments.items())
        last = max((i for i, (k, v) in enumerate(values) if v != defaults[k]), default=0)
        said = [
            f'{v:g}' if isinstance(v, float) else str(v) or f'{k}=' for k, v in values[: last + 1]
        ]
        return self.name + (f':{",".join(said)}' if said else '')

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Term) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def name(self) -> str:
        """The part's name."""
        return self.part.name

    @property
    def details(self) -> Any:
        """The part's details."""
        return self.part.details

    @property
    def key(self) -> tuple:
        """What decides a compiled program: the name and every argument, exactly."""
        return self.name, self.part.target, *self.arguments.items()


PARTS: dict[str, dict[str, Part]] = {kind: {} for kind in KINDS}
"""By kind and name: the shipped ones that have been imported, and the user's."""
FILES: dict[str, str] = {}
"""{path: SHA-256} of the files outside ftjax that registered parts, as they were then."""
BEFORE_USE: list[Callable[[object], object]] = []
"""Called with each part of the user's own before it is used for the first time."""
_OURS = str(pathlib.Path(__file__).resolve().parent) + os.sep


def register(
    kind: str,
    name: str,
    *,
    source: str = '',
    ranges: Mapping[str, Range] | None = None,
    details: object = None,
    target: str | None = None,
    **parameters: object,
) -> Callable[[Any], Any]:
    """Registers the decorated function or class.

    Args:
      kind: a key of KINDS.
      name: as a config writes it, without `:`, `,`, `+` or `=`.
      source: where the method is published.
      ranges: which numbers an argument takes: `{'share': between(0, 1)}`.
      details: what else the kind needs to know.
      target: 'module:attribute', in place of decorating, for what is imported when first used.
      **parameters: arguments with defaults, where the function does not say them itself.

    Raises:
      UserError: no such kind, a name that cannot be written, or one that another file has; no
        `details` of a kind that cannot do without.

    >>> @register('schedule', 'halved')
    ... def halved(settings, done, step, total, share=0.5):
    ...     '''Half the rate from a share of the run on.'''
    ...     return 1.0 if step < share * total else 0.5
    >>> parse('schedule', 'halved:0.25')(None, 0.3, 3, 10)
    0.5
    """
    check_name(kind, KINDS, 'kind of part:')
    if not re.fullmatch(r'[A-Za-z_][\w.-]*', name):
        raise UserError(f'{KINDS[kind].title} {shown(name)}: expected a name of letters and digits')
    file = _registering()

    def add(function: object) -> Any:
        if not file.startswith(_OURS) and name in places_of(kind):
            parts(kind)  # so that a name of ours is refused below
        before = PARTS[kind].get(name)
        if before is not None and before.file != file:
            raise UserError(
                f'{KINDS[kind].title} {name!r} is registered twice, in {before.file} and in '
                f'{file}; choose another name for one'
            )
        if KINDS[kind].by and details is None:
            raise UserError(
                f'{KINDS[kind].title} {name!r} lacks its details; register it by {KINDS[kind].by}'
            )
        if os.path.isfile(file) and not file.startswith(_OURS):
            FILES[file] = hashlib.sha256(pathlib.Path(file).read_bytes()).hexdigest()
        given = parameters or defaults_of(function)
        for argument in ranges or {}:
            check_name(argument, given, f'argument of {name}:')
        PARTS[kind][name] = Part(
            kind, name, function, given, dict(ranges or {}), source, details, file
        )
        return function

    return add if target is None else add(target)


def _registering() -> str:
    """The file whose code registers a part; its module where there is none, as in a notebook.

    That is the first outside ftjax: functions of ftjax register for whoever calls them. Where the
    part itself was written does not matter: it may come from a package.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_name != '<module>':
        if not os.path.realpath(frame.f_code.co_filename).startswith(_OURS):
            break
        frame = frame.f_back
    file = frame.f_code.co_filename
    return os.path.realpath(file) if os.path.isfile(file) else str(frame.f_globals.get('__name__'))


def defaults_of(function: object) -> dict[str, object]:
    """Arguments of a function that have defaults, in order; {} of a class or what is not loaded.

    >>> defaults_of(lambda image, key, share=0.5: image)
    {'share': 0.5}
    """
    if isinstance(function, type) or not callable(function):
        return {}
    known = inspect.signature(function).parameters.values()
    return {each.name: each.default for each in known if each.default is not each.empty}


def parts(kind: str) -> dict[str, Part]:
    """All parts of a kind by name, the shipped ones imported."""
    places = places_of(check_name(kind, KINDS, 'kind of part:'))
    for module in (*KINDS[kind].modules, *places.values()):
        importlib.import_module(module)
    if not places:
        return PARTS[kind]
    # In one order, whichever was imported first.
    return {name: PARTS[kind][name] for name in dict.fromkeys((*places, *PARTS[kind]))}


def places_of(kind: str) -> Mapping[str, str]:
    """By name, the module that registers a shipped part; {} of kinds imported as a whole."""
    module = KINDS[kind].places
    return importlib.import_module(module).PLACES if module else {}


def own() -> list[Part]:
    """The parts that users registered, of all kinds; parts of ftjax are left out."""
    known = (part for named in PARTS.values() for part in named.values())
    return [part for part in known if part.is_own]


def find(kind: str, name: str, what: str = '') -> Part:
    """The part of a name; UserError with the nearest name where there is none.

    `what` is what the message calls it, in place of the kind's title.
    """
    places = places_of(kind)
    if isinstance(name, str) and name in places:
        importlib.import_module(places[name])
    known = PARTS[kind] if places and name in PARTS[kind] else parts(kind)
    return known[check_name(name, known, what or KINDS[kind].title)]


def parse(kind: str, text: str, where: str = '', more: Iterable[str] = ()) -> Term:
    """Reads `name[:value[,value|key=value ..]]`.

    Args:
      kind: a key of KINDS.
      text: what the config says.
      where: what stands before `text` in messages; the kind's key of a config if empty.
      more: further names that messages offer.

    Raises:
      UserError: an unknown name (the nearest is named), too many arguments, an empty one, or a
        value of the wrong type or out of its range.
    """
    title, before = KINDS[kind].title, f'{where}: ' if where else ''
    where = where or KINDS[kind].key
    if not isinstance(text, str) or not text.strip():
        raise UserError(f'{where}: expected the name of a {title}, not {shown(text)}')
    name, _, rest = text.partition(':')
    there = parts(kind)
    if name not in there:
        joined = re.fullmatch(r'([a-z_]+?)[ _=-]?(\d[\d.]*)', name)
        near = did_you_mean(name, [*there, *more])
        if joined and joined[1] in there and there[joined[1]].parameters:
            others = f',{rest}' if rest else ''
            near = f"did you mean '{joined[1]}:{joined[2]}{others}'?"
        raise UserError(f'{before}unknown {title} {shown(name)}; {near}')
    part = there[name]
    arguments, names = dict(part.parameters), list(part.parameters)
    given = [word.strip() for word in rest.split(',')] if ':' in text else []
    takes = ', '.join(names) or 'no argument'
    if len(given) > len(names):
        are = 'one is' if len(given) == 1 else f'{len(given)} are'
        raise UserError(f'{where} {text!r}: {name} takes {takes}; {are} given')
    if not all(given):
        raise UserError(f'{where} {text!r}: an argument is empty; {name} takes {takes}')
    for index, word in enumerate(given):
        key, equals, value = word.partition('=')
        if equals:
            check_name(key, names, f'argument of {name}:')
        else:
            key, value = place_of(word, index, part.parameters), word
        what = f'{where} {text!r}: {key}'
        arguments[key] = read_value(value, part.parameters[key], what, part.ranges.get(key))
    return Term(part, arguments)
