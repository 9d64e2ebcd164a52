"""Errors written for the person who made the mistake, not for the one who wrote the code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class UserError(ValueError):
    """Something the user can put right: scripts print it as one line and exit with 2.

    The message says what was wrong, where, what was expected and, where a name is
    misspelt, the nearest right one.
    """


def shown(value: Any, limit: int = 60) -> str:
    """A value on one line, cut where it is long.

    >>> shown('abcdefghij', 6)
    "'abcde.."
    """
    text = repr(value)
    return text if len(text) <= limit else f'{text[:limit]}..'


def did_you_mean(name: str, known: Iterable[str], limit: int = 3) -> str:
    """A sentence with the names nearest to `name`, or with all of them when none is near.

    >>> did_you_mean('hed', ['head', 'full'])
    "did you mean 'head'?"
    """
    known = list(known)
    # The comparison takes the product of the lengths: a very long name is near to none.
    near = difflib.get_close_matches(str(name)[:200], known, n=limit, cutoff=0.55)
    if near:
        return 'did you mean ' + ' or '.join(repr(word) for word in near) + '?'
    return 'known: ' + (', '.join(sorted(known)) or 'none')


def check_name(name: str, known: Iterable[str], what: str) -> str:
    """Returns `name` if it is one of `known`; raises UserError naming the nearest otherwise."""
    known = list(known)
    if name not in known:
        raise UserError(f'unknown {what} {shown(name, 200)}; {did_you_mean(name, known)}')
    return name
