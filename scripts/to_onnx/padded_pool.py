"""A max pool that jax2onnx converts rightly; convert_bundle.py puts it where ResNet looks."""

from typing import Any


class PaddedFirst:
    """flax.linen, with a max pool that pads in a step of its own.

    jax2onnx drops an explicit padding of `max_pool` and takes keyword arguments only; the window
    as `lax.reduce_window` becomes a pool that onnxruntime does not run.
    """

    def __getattr__(self, name: str) -> Any:
        import flax.linen

        return getattr(flax.linen, name)

    def max_pool(self, inputs, window_shape, strides, padding):
        """The same numbers as flax.linen.max_pool."""
        import flax.linen
        import jax.numpy as jnp

        low = jnp.finfo(inputs.dtype).min
        around = jnp.pad(inputs, ((0, 0), *padding, (0, 0)), constant_values=low)
        # By name: jax2onnx puts its own function there while it traces.
        return flax.linen.max_pool(
            around, window_shape=window_shape, strides=strides, padding='VALID'
        )
