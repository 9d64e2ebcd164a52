"""ftjax: fine-tuning pretrained networks in JAX, with part of them frozen."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftjax.api import finetune

__all__ = ['finetune']


def __getattr__(name: str) -> Any:
    # Loaded when asked for: `import ftjax.models` does not pay for the whole library.
    if name == 'finetune':
        from ftjax.api import finetune

        return finetune
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
