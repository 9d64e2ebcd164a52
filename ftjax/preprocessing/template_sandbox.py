"""Where chat templates are rendered: jinja2's sandbox, with bounds on the work and on the text.

jinja2's own sandbox keeps a template from Python and from the machine. It does not keep it from
loops in loops, or from a text that is doubled forty times; here both end in a UserError.
"""

from __future__ import annotations

import contextvars
import dataclasses
import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from typing import Any

from jinja2 import Template, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from ftjax.errors import UserError

LONGEST = 2**18
"""Characters of a template, and of what it may make beyond the messages."""
STEPS = 100_000
"""Turns of loops and calls of one rendering."""
_WIDE = re.compile(r'\d{6,}')  # a width in what formats a number


@dataclasses.dataclass
class _Bounds:
    """What is left to one rendering."""

    characters: int
    steps: int = dataclasses.field(default_factory=lambda: STEPS)

    def take(self, steps: int) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise UserError(f'more than {STEPS:,} turns of loops')

    def check(self, characters: int) -> None:
        if characters > self.characters:
            raise UserError(f'a text of more than {self.characters:,} characters')


_PRESENT: contextvars.ContextVar[_Bounds] = contextvars.ContextVar('bounds')


def render(text: str, given: Mapping[str, Any], characters: int) -> str:
    """A template rendered.

    Args:
      text: of the template.
      given: its variables.
      characters: of these variables: how long the text may be depends on it.

    Raises:
      UserError: the template refuses, or does too much.
      jinja2.TemplateError: it is broken, or reaches for what it may not.
    """
    bounds = _Bounds(LONGEST + 16 * characters)
    token = _PRESENT.set(bounds)
    try:
        return _joined(compiled(text).generate(**given))
    finally:
        _PRESENT.reset(token)


@functools.lru_cache(maxsize=8)
def compiled(text: str) -> Template:
    """The template of a text."""
    environment = _Bounded(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_Answer, loopcontrols],
        finalize=_shown,
    )
    for name in ('center', 'format', 'indent', 'join', 'pprint', 'replace', 'string'):
        environment.filters[name] = _bounded(name, environment.filters[name])
    environment.filters |= {'tojson': _json, _TURNS: _turns}
    environment.globals['raise_exception'] = _refused  # pyrefly: ignore
    return environment.from_string(text)


class _Answer(Extension):
    """`{% generation %} .. {% endgeneration %}`, which marks an answer, as its content."""

    tags = frozenset({'generation'})  # pyrefly: ignore

    def parse(self, parser: Any) -> Any:
        next(parser.stream)
        return parser.parse_statements(('name:endgeneration',), drop_needle=True)


class _Bounded(ImmutableSandboxedEnvironment):
    """Operators, calls and joins that count what they make."""

    intercepted_binops = frozenset({'*', '**', '+', '%'})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == '%':
            _check_format(left, (right,) if not isinstance(right, tuple) else right)
        elif operator == '+':
            _PRESENT.get().check(_size(left) + _size(right))
        else:
            sizes = [len(x) if isinstance(x, Sequence) else abs(x) for x in (left, right)]
            if operator == '**' or sizes[0] * sizes[1] > LONGEST:
                raise UserError(f'{operator} of large values')
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:  # pyrefly: ignore
        _PRESENT.get().take(1)
        own = getattr(getattr(obj, '__wrapped__', obj), '__self__', None)
        if isinstance(own, str):
            _check_text_call(getattr(obj, '__name__', ''), own, args, kwargs)
        found = super().call(context, obj, *args, **kwargs)
        _PRESENT.get().check(_size(found))
        return found

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        return _Counted().visit(super()._parse(source, name, filename))

    @staticmethod
    def concat(parts: Iterable[str]) -> str:  # pyrefly: ignore
        """What blocks and macros make of their parts."""
        return _joined(parts)


_TURNS = 'turns of a loop'  # no name that a template can write


class _Counted(NodeTransformer):
    """Loops go through `_turns`, and `a ~ b` is the sum of two texts."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = _filtered(node.iter, _TURNS)  # pyrefly: ignore
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        texts = [_filtered(part, 'string') for part in node.nodes]
        return functools.reduce(lambda one, other: nodes.Add(one, other), texts)


def _filtered(node: nodes.Expr, name: str) -> nodes.Expr:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _turns(values: Any) -> Any:
    values = values if isinstance(values, Sized) else list(values)
    _PRESENT.get().take(len(values))
    return values


def _joined(parts: Iterable[str]) -> str:
    found, size = [], 0
    for part in parts:
        size += len(part)
        _PRESENT.get().check(size)
        found.append(part)
    return ''.join(found)


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        given = args[1:] if hasattr(function, 'jinja_pass_arg') else args
        value, rest = given[0], given[1:]
        if name == 'join':
            value = list(value)
            between = str(rest[0] if rest else kwargs.get('d', ''))
            _check_text_call(name, between, (value,), {})
            args = (*args[: len(args) - len(given)], value, *rest)
        else:
            _size(value)
            _check_text_call(name, str(value), rest, kwargs)
        return function(*args, **kwargs)

    return run


def _check_text_call(name: str, own: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """UserError where a method, or filter, of a text would make a text that is too long."""
    bounds, given = _PRESENT.get(), [*args, *kwargs.values()]
    if name in ('format', 'format_map'):
        _check_format(own, given)
    if name == 'replace' and len(args) > 1:
        old, new = str(args[0]), str(args[1])
        bounds.check(len(own) + own.count(old) * len(new))
    if name == 'join' and args:
        values = list(args[0])
        bounds.check(sum(map(_size, values)) + len(own) * len(values))
    if name == 'indent':
        lines = own.count('\n') + 1
        widths = [len(x) if isinstance(x, str) else x for x in given if not isinstance(x, bool)]
        bounds.check(lines * max([4, *widths]))
    for value in given:
        if isinstance(value, int):
            bounds.check(abs(value))


def _check_format(text: Any, given: Sequence[Any]) -> None:
    """UserError for a width of a number that is no width."""
    if isinstance(text, str) and _WIDE.search(text):
        raise UserError('a format with a very large width')
    if isinstance(text, str):
        bounds = _PRESENT.get()
        widths = [abs(x) for x in given if isinstance(x, int)]
        if '*' in text or '{:{' in text:
            bounds.check(max(widths, default=0))
        fields = text.count('%') + text.count('{')
        bounds.check(len(text) + fields * max(map(_size, given), default=0))


def _size(value: Any) -> int:
    """Characters of a text, or of all that a list holds: one list may stand in another twice."""
    bounds, total, waiting = _PRESENT.get(), 0, [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            total += len(each)
        elif isinstance(each, (list, tuple, dict)):
            total += 1 + len(each)
            waiting += each.values() if isinstance(each, dict) else each
        bounds.check(total)
    return total


def _shown(value: Any) -> Any:
    """What `{{ .. }}` writes: a text that is not too long."""
    _size(value)
    return value


def _json(value: Any, indent: int | None = None) -> str:
    _size(value)
    if isinstance(indent, int) and indent > 80:
        raise UserError(f'tojson with an indent of {indent}')
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refused(message: object) -> None:
    raise UserError(str(message))
