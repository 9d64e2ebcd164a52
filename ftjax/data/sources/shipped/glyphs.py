"""Printed characters drawn on the spot: `glyphs`, `glyphs:COUNT` or `glyphs:COUNT,DRAW`."""

from __future__ import annotations

from ftjax.data.dataset import Dataset
from ftjax.data.settings import DataSettings
from ftjax.data.sources.registry import Parts
from ftjax.errors import UserError

_COUNT = 20_000
# The images are one fixed set, and a run's seed decides how it is split. The shipped network was
# trained on those of draw 0; of another draw it has seen none.
_DRAW = '0'


def read(argument: str, settings: DataSettings) -> Parts:
    """COUNT distorted printed characters (default 20,000), uint8 (COUNT, 24, 24, 1)."""
    from ftjax.data.synthetic.glyphs import CLASS_NAMES, render_glyphs

    count, comma, draw = (argument or str(_COUNT)).partition(',')
    draw = draw if comma else _DRAW
    if not (count.isdecimal() and int(count) > 0 and draw.isdecimal()):
        raise UserError(
            f'data.source {settings.source!r}: expected glyphs:COUNT or glyphs:COUNT,DRAW with '
            'COUNT > 0 and DRAW >= 0'
        )
    if not settings.label_kind.one_class:
        raise UserError("data.source 'glyphs' has classes; data.task must be classification")
    images, labels = render_glyphs(int(count), seed=int(draw))
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
