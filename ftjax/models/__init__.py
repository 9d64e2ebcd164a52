"""Networks as sequences of named stages."""

import importlib
from typing import Any

_LATE = {
    'from_nnx': 'ftjax.models.built.nnx_model',
    'into_nnx': 'ftjax.models.built.nnx_model',
    'from_linen': 'ftjax.models.built.linen_model',
}
__all__ = sorted(_LATE)  # pyrefly: ignore


def __getattr__(name: str) -> Any:
    """What brings a library along is imported when it is first asked for."""
    if name in _LATE:
        return getattr(importlib.import_module(_LATE[name]), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
