"""Printed characters drawn on the spot: `glyphs` or `glyphs:COUNT`."""

from __future__ import annotations

from ftjax.data.dataset import Dataset
from ftjax.data.settings import DataSettings
from ftjax.data.sources.registry import Parts
from ftjax.errors import UserError

_COUNT = 20_000
_SEED = 0  # the images are one fixed set; a run's seed decides how it is split


def read(argument: str, settings: DataSettings) -> Parts:
    """COUNT distorted printed characters (default 20,000), uint8 (COUNT, 24, 24, 1)."""
    from ftjax.data.synthetic.glyphs import CLASS_NAMES, render_glyphs

    if argument and not (argument.isdecimal() and int(argument) > 0):
        raise UserError(f'data.source {settings.source!r}: expected glyphs:COUNT, COUNT > 0')
    if not settings.label_kind.one_class:
        raise UserError("data.source 'glyphs' has classes; data.task must be classification")
    images, labels = render_glyphs(int(argument or _COUNT), seed=_SEED)
    ids = [f'glyph_{i:07d}' for i in range(len(images))]
    return Parts(
        train=Dataset(
            name=settings.source,
            kind='image',
            inputs=images,
            labels=labels,
            class_names=CLASS_NAMES,
            task=settings.task,
            ids=ids,
        )
    )
