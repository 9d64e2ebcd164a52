"""Checkpoint files as named tensors that are read one by one: `open_source(path)`."""

from ftjax.pretrained.sources.base import TensorSource, open_source

__all__ = ['TensorSource', 'open_source']
