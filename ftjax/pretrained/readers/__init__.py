"""Checkpoint files as named tensors that are read one by one: `open_source(path)`."""

from ftjax.pretrained.readers.base import TensorSource
from ftjax.pretrained.readers.open_source import open_source

__all__ = ['TensorSource', 'open_source']
