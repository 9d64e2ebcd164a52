"""Networks as sequences of named stages."""

from ftjax.late_names import late_names

_LATE = {
    'from_nnx': 'ftjax.models.built.nnx_model',
    'into_nnx': 'ftjax.models.built.nnx_model',
    'from_linen': 'ftjax.models.built.linen_model',
}
__all__ = sorted(_LATE)  # pyrefly: ignore
__getattr__ = late_names(__name__, _LATE)
