"""How a checkpoint's family is recognised."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
    """How to recognise one family."""

    models: tuple[str, ...] = ()
    """Names of registered models that this module writes configs for."""
    model_types: tuple[str, ...] = ()
    """Values of config.json's "model_type"."""
    architectures: tuple[str, ...] = ()
    """Regular expressions (full match) of config.json's "architecture" (timm) or of an entry of
    "architectures"; they win over model_type, for a type that several families share."""
    tensors: tuple[str, ...] = ()
    """Regular expressions (full match), each of which some tensor's name must match, that
    recognise a file without config.json."""
