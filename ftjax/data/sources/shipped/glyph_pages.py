"""Pages of printed characters drawn on the spot, with masks: `pages` or `pages:COUNT`."""

from __future__ import annotations

from ftjax.data.dataset import Dataset
from ftjax.data.masks.mask import MaskPixels, masks
from ftjax.data.settings import DataSettings
from ftjax.data.sources.registry import Parts
from ftjax.errors import UserError

_COUNT = 400
_SEED = 0  # the pages are one fixed set; a run's seed decides how it is split


def read(argument: str, settings: DataSettings) -> Parts:
    """COUNT pages of 48 x 48 pixels (default 400), a class for each pixel of each."""
    from ftjax.data.synthetic.pages import NAMES, render_pages

    if argument and not (argument.isdecimal() and int(argument) > 0):
        raise UserError(f'data.source {settings.source!r}: expected pages:COUNT, COUNT > 0')
    if settings.label_kind.head != 'dense':
        raise UserError(
            "data.source 'pages' has a class for each pixel; data.task must be segmentation"
        )
    pages, labels = render_pages(int(argument or _COUNT), seed=_SEED)
    return Parts(
        train=Dataset(
            name=settings.source,
            kind='image',
            inputs=pages,
            labels=masks([MaskPixels(each) for each in labels]),
            class_names=NAMES,
            task=settings.task,
            ids=[f'page_{i:05d}' for i in range(len(pages))],
        )
    )
