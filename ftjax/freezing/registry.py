"""Strategies by name, and the strings that combine them: `last:4+llrd:0.75`."""

from __future__ import annotations

import dataclasses
import importlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from ftjax.errors import UserError, check_name, did_you_mean, shown
from ftjax.ranges import Range

KINDS = {
    'mask': 'which leaves train',
    'rates': 'how fast each leaf moves',
    'shape': 'the rate over time',
    'schedule': 'what trains when',
    'data_driven': 'decided from data',
    'adapter': 'new parameters on a frozen trunk',
    'regulariser': 'a pull towards the pretrained weights',
    'average': 'an average of the weights along the way',
    'weights': 'what is done with the weights afterwards',
}
LARGEST = 1e9
"""Beyond it no argument of a strategy can be meant."""
# Modules that register strategies when imported.
SHIPPED = (
    *('masks', 'learning_rates', 'unfreezing', 'freezeout', 'random_subsets', 'reinitialise'),
    *('data_driven_rates', 'data_driven_blocks', 'data_driven_entries'),
    *('adapters', 'regularisers', 'weight_averages'),
)


@dataclasses.dataclass(frozen=True)
class Strategy:
    """One entry of the catalogue: its name, kind, parameters with defaults, and function."""

    name: str
    kind: str
    function: Callable[..., Any]
    parameters: Mapping[str, Any]
    source: str = ''
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What the plan must know besides: `norm`, `noise`, `optimizer_state`, `when` .."""
    ranges: Mapping[str, Range] = dataclasses.field(default_factory=dict)
    """Which numbers a parameter takes; any where it is not named."""

    @property
    def kind_said(self) -> str:
        """What strategies of its kind decide, in words."""
        return KINDS[self.kind]

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (self.function.__doc__ or '').strip().split('\n')[0]

    @property
    def example(self) -> str:
        """A short string that names it: `last:1`, `head`."""
        return str(Term(self, self.parameters))


CATALOGUE: dict[str, Strategy] = {}


def strategy(name: str, kind: str, *, source: str = '', options=None, ranges=None, **parameters):
    """Registers the decorated function as a strategy; parameters are given with defaults.

    `ranges={'share': between(0, 1)}` says which numbers a parameter takes.

    What the function takes and returns depends on the kind; see the module that holds the
    shipped ones of that kind (masks.py for 'mask').

    >>> @strategy('odd_blocks', 'mask', start=1)
    ... def odd_blocks(net, start):
    ...     '''Every second block, and the head.'''
    ...     return net.within(*net.blocks[start::2]) | net.head
    """
    check_name(kind, KINDS, 'kind of strategy')

    def register(function):
        found = Strategy(name, kind, function, parameters, source, options or {}, ranges or {})
        CATALOGUE[name] = found
        return function

    return register


def catalogue() -> dict[str, Strategy]:
    """All strategies, the shipped ones imported."""
    for module in SHIPPED:
        importlib.import_module(f'ftjax.freezing.strategies.{module}')
    return CATALOGUE


@dataclasses.dataclass(frozen=True)
class Term:
    """One strategy with its arguments bound: what `last:4` means."""

    strategy: Strategy
    arguments: Mapping[str, Any]

    def __call__(self, *positional: Any) -> Any:
        return self.strategy.function(*positional, **self.arguments)

    def __str__(self) -> str:
        """The name, and the arguments up to the last that is not the default, at least one."""
        defaults, values = self.strategy.parameters, list(self.arguments.items())
        last = max((i for i, (k, v) in enumerate(values) if v != defaults[k]), default=0)
        shown = [f'{v:g}' if isinstance(v, float) else str(v) for _, v in values[: last + 1]]
        return self.strategy.name + (f':{",".join(shown)}' if shown else '')

    @property
    def key(self) -> tuple:
        """What decides a compiled program: the name and every argument, exactly."""
        return self.strategy.name, self.strategy.function, *self.arguments.items()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Term) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def parse(text: str) -> list[Term]:
    """Reads `name[:value[,value|key=value ..]][+name ..]`.

    Raises UserError for an unknown name (with the nearest), too many arguments, a value of
    the wrong type, or two terms of a kind that can stand only once.

    >>> [str(term) for term in parse('last:4')]
    ['last:4']
    """
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"freeze: expected a strategy such as 'last:2', not {text!r}")
    terms = [parse_term(part.strip()) for part in text.split('+')]
    for kind in ('rates', 'schedule', 'shape', 'data_driven', 'weights'):
        same = [term for term in terms if term.strategy.kind == kind]
        if len(same) > 1:
            raise UserError(
                f'freeze {text!r}: {same[0]} and {same[1]} both decide {KINDS[kind]}; keep one'
            )
    return terms


def parse_term(text: str) -> Term:
    """Reads one `name:arguments`."""
    name, _, rest = text.partition(':')
    known = catalogue()
    if name not in known:
        joined = re.fullmatch(r'([a-z_]+?)[ _=-]?(\d[\d.]*)', name)
        near = did_you_mean(name, known)
        if joined and joined[1] in known and known[joined[1]].parameters:
            more = f',{rest}' if rest else ''
            near = f"did you mean '{joined[1]}:{joined[2]}{more}'?"
        raise UserError(f'unknown freezing strategy {shown(name)}; {near}')
    found = known[name]
    arguments, names = dict(found.parameters), list(found.parameters)
    given = [part.strip() for part in rest.split(',') if part.strip()] if rest else []
    if len(given) > len(names):
        takes = ', '.join(names) or 'no arguments'
        raise UserError(f'freeze {text!r}: {name} takes {takes}, not {len(given)} arguments')
    for index, part in enumerate(given):
        key, equals, value = part.partition('=')
        if equals:
            check_name(key, names, f'argument of {name}:')
        else:
            key, value = names[index], part
        what = f'freeze {text!r}: {key}'
        arguments[key] = read_value(value, found.parameters[key], what, found.ranges.get(key))
    return Term(found, arguments)


def read_value(value: str, default: Any, what: str, allowed: Range | None = None) -> Any:
    """Converts an argument to the type of its default (None stands for a number)."""
    if isinstance(default, str):
        return value
    kind = int if isinstance(default, int) else float
    try:
        number = kind(value)
        if not abs(number) < LARGEST:  # NaN fails it too
            raise ValueError
    except ValueError:
        expected = 'a whole number' if kind is int else 'a number'
        raise UserError(f'{what} must be {expected}, not {value!r}') from None
    if allowed is not None and not allowed.holds(number):
        raise UserError(f'{what} is {number:g}; expected a number, {allowed.text(number)}')
    return number
