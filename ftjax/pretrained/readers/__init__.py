"""Checkpoint files as named tensors that are read one by one: `open_source(path)`."""

from ftjax.pretrained.readers.open_source import open_source
from ftjax.pretrained.readers.tensor_source import TensorSource

__all__ = ['TensorSource', 'open_source']
