"""What code changes as it runs, as it was when this process first looked.

Caches in dicts and lists, and globals that are made at the first call, say nothing about the code:
its hash before a run and after it is the same.
"""

from __future__ import annotations

import dis
import types
from collections.abc import Mapping
from typing import Any

_FIRST: dict[object, tuple[object, Any]] = {}
"""By identity, with what is kept so that no other gets it: the first contents."""
_STORES = dis.opmap['STORE_GLOBAL']


def contents(thing: Any) -> Any:
    """What a container holds; a dict, list or set what it first held."""
    for kind in (dict, list, set):
        if isinstance(thing, kind):
            return _FIRST.setdefault(id(thing), (thing, kind(thing)))[1]
    return thing


def global_value(names: dict[str, Any], name: str, stored: dict[int, set[str]]) -> object:
    """What a global is; what it first was, where functions of its module set it.

    `stored` keeps the names that are set, by module, for the next question.
    """
    if id(names) not in stored:
        stored[id(names)] = stored_names(names)
    value = names[name]
    if name in stored[id(names)]:
        return _FIRST.setdefault((id(names), name), (names, value))[1]
    return value


def stored_names(names: Mapping[str, Any]) -> set[str]:
    """The globals that functions and methods of a module set by `global`."""
    every = [*names.values()]
    every += [each for one in every if isinstance(one, type) for each in vars(one).values()]
    found: set[str] = set()
    for each in every:
        while hasattr(each, '__wrapped__') and not isinstance(each, type):
            each = each.__wrapped__
        if isinstance(each, types.FunctionType) and each.__globals__ is names:
            found |= _stores(each.__code__)
    return found


def _stores(code: types.CodeType) -> set[str]:
    found = set().union(
        *(_stores(each) for each in code.co_consts if isinstance(each, types.CodeType))
    )
    if _STORES in code.co_code[::2]:
        found |= {each.argval for each in dis.get_instructions(code) if each.opcode == _STORES}
    return found
