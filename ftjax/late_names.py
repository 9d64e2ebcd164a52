"""Names of a package that are imported when they are first asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def late_names(package: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package whose names stand in other modules (PEP 562).

    Args:
      package: its `__name__`.
      places: {name: module}.

    `from package import name` and `package.name` work as if they had been imported there, and
    what they bring along costs nothing where nobody asks.

    >>> late_names('ftjax.models', {'build': 'ftjax.models.registry'})('build').__name__
    'build'
    """

    def get(name: str) -> Any:
        if name in places:
            return getattr(importlib.import_module(places[name]), name)
        raise AttributeError(f'module {package!r} has no attribute {name!r}')

    return get
