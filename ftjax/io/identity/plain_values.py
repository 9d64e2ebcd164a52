"""Values that are told by what is written of them: numbers, texts, patterns."""

from __future__ import annotations

import copyreg
import sys
from typing import Any

PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis))
VALUES = (tuple, list, dict, set, frozenset)


def is_plain(value: object) -> bool:
    """Whether it is a number, a text, or holds nothing else."""
    if isinstance(value, dict):
        value = (*value.keys(), *value.values())
    return isinstance(value, PLAIN) or (
        isinstance(value, VALUES) and all(is_plain(part) for part in value)
    )


def made_from(thing: object) -> tuple[str, ...]:
    """The plain values that make a constant of Python's or NumPy's own types; () of all else.

    >>> import re
    >>> made_from(re.compile('a+')), made_from(range(3)), made_from(iter([1]))
    (("('a+', 32)",), ('(0, 3, 1)',), ())
    """
    package = type(thing).__module__.partition('.')[0]
    if hasattr(thing, '__next__') or package not in {*sys.stdlib_module_names, 'numpy'}:
        return ()
    reduce = copyreg.dispatch_table.get(type(thing))
    try:
        found: Any = thing.__reduce_ex__(2) if reduce is None else reduce(thing)
        _, arguments, state, *more = *found, None
    except Exception:  # what cannot be copied
        return ()
    if not arguments or not is_plain(arguments) or any(each is not None for each in more):
        return ()
    told = (arguments,) if state is None else (arguments, state)
    return (
        tuple(map(repr, told)) if isinstance(state, tuple | type(None)) and is_plain(state) else ()
    )
