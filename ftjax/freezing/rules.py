"""Ordered (pattern, group) rules: first match wins, nothing is left over, nothing is dead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from ftjax.errors import UserError

FROZEN = 'frozen'


class Unmatched(UserError):
    """A leaf that no rule matches."""


def assign(paths: Iterable[str], rules: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Gives every leaf the group of the first rule that matches its whole path.

    Raises UserError when a pattern is no regular expression, when a leaf matches no rule,
    and when a rule decides no leaf, because that is how a typo trains everything silently.

    >>> assign(['embed/kernel', 'head/kernel'], [('head/.*', 'head'), ('.*', 'frozen')])
    {'embed/kernel': 'frozen', 'head/kernel': 'head'}
    """
    paths = list(paths)
    compiled = []
    for pattern, group in rules:
        try:
            compiled.append((re.compile(pattern), group))
        except re.error as error:
            raise UserError(f'freeze rule {pattern!r} is no regular expression: {error}') from error
    groups: dict[str, str] = {}
    decided = [0] * len(compiled)
    for path in paths:
        for index, (pattern, group) in enumerate(compiled):
            if pattern.fullmatch(path):
                groups[path] = group
                decided[index] += 1
                break
        else:
            raise Unmatched(
                f"leaf {path!r} matches no freeze rule; end the rules with ('.*', 'frozen') "
                f"or ('.*', 'trunk')"
            )
    for (pattern, group), count in zip(compiled, decided, strict=True):
        if not count:
            raise UserError(
                f'freeze rule ({pattern.pattern!r}, {group!r}) decides no leaf: '
                + why_dead(pattern, paths)
            )
    return groups


def why_dead(pattern: re.Pattern, paths: Sequence[str]) -> str:
    """Why a rule decides nothing: shadowed, or with the leaves nearest to what it says."""
    matched = [path for path in paths if pattern.fullmatch(path)]
    if matched:
        return f'earlier rules already take all it matches ({matched[0]!r} ..)'
    literal = re.sub(r'[\\^$.*+?()\[\]{}|]', '', pattern.pattern)
    near = difflib.get_close_matches(literal, paths, n=3, cutoff=0.3) or sorted(paths)[:3]
    return 'patterns match whole paths; the nearest are ' + ', '.join(map(repr, near))
