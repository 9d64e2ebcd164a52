"""Networks as sequences of named stages."""

import importlib
from typing import Any

__all__ = ['from_nnx']


def __getattr__(name: str) -> Any:
    """What brings a library along is imported when it is first asked for."""
    if name in __all__:
        return getattr(importlib.import_module('ftjax.models.built.nnx_model'), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
