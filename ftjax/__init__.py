"""ftjax: fine-tuning pretrained networks in JAX, with part of them frozen."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftjax.api import finetune, load

    __version__: str

__all__ = ['finetune', 'load']


def __getattr__(name: str) -> Any:
    # Loaded when asked for: `import ftjax.models` does not pay for the whole library.
    if name in __all__:
        from ftjax import api

        return getattr(api, name)
    if name == '__version__':
        from importlib.metadata import version

        return version(__name__)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
