"""Errors written for the person who made the mistake, not for the one who wrote the code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user can put right: scripts print it as one line and exit with 2.

    The message says what was wrong, where, what was expected and, where a name is
    misspelt, the nearest right one.
    """


def did_you_mean(name: object, known: Iterable[str], limit: int = 3) -> str:
    """A sentence with the names nearest to `name`, or with all of them when none is near.

    >>> did_you_mean('hed', ['head', 'full'])
    "did you mean 'head'?"
    """
    known = [str(word) for word in known]
    # The comparison takes the product of the lengths: a very long name is near to none.
    near = difflib.get_close_matches(
        name[:200] if isinstance(name, str) else '', known, n=limit, cutoff=0.55
    )
    if near:
        return 'did you mean ' + ' or '.join(repr(word) for word in near) + '?'
    return 'known: ' + (', '.join(sorted(known)) or 'none')


def at_row(position: int) -> str:
    """Where an example stands that a program holds, counted as lines of files are.

    >>> at_row(0)
    'row 1 (counted from 1)'
    """
    return f'row {position + 1} (counted from 1)'


def check_name(name: str, known: Iterable[str], what: str) -> str:
    """Returns `name` if it is one of `known`; raises UserError naming the nearest otherwise."""
    known = list(known)
    if name not in known:
        raise UserError(f'unknown {what} {shown(name, 200)}; {did_you_mean(name, known)}')
    return name


def shown(value: object, limit: int = 60) -> str:
    """A value on one line, cut where it is long.

    >>> shown(10**5000)
    'a whole number of some 5001 digits'
    """
    if isinstance(value, int) and abs(value) >= 10**1000:  # Python refuses to write out longer ones
        return f'a whole number of some {int(value.bit_length() * 0.30103) + 1} digits'
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        text = f'a {type(value).__name__} with such a number'
    return text if len(text) <= limit else f'{text[:limit]}..'
