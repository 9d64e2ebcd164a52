"""Images that are dark, blank, blurred, tiny or of an odd shape, turned by EXIF, of mixed modes."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ftjax.data.audit.examples import Examples
from ftjax.data.audit.finding import Finding, Row, counted
from ftjax.data.audit.measures.image_looks import ImageLook, outlying

DARK, BRIGHT, FLAT = 20, 240, 3  # of 0..255
NARROW = 3.0  # longer side by the shorter
TINY = 32  # pixels of the shorter side
BLURRED = 4.0  # robust standard deviations below the median sharpness
_SHARP_FROM = 64  # pixels of the shorter side, below which sharpness says nothing


def image_findings(
    examples: Examples, looks: Sequence[ImageLook], network_side: int = 0
) -> Iterator[Finding]:
    """Findings on images that can be read.

    Args:
      examples: all of them.
      looks: one of each.
      network_side: pixels of the shorter side that the network sees; 0 if that is not known.
    """
    rows = np.arange(len(examples))

    def told(
        check: str, which: np.ndarray, one: str, several: str, detail: Callable[[ImageLook], str]
    ) -> Iterator[Finding]:
        if which.any():
            yield Finding(
                check,
                'warning',
                counted(int(which.sum()), one, several),
                tuple(Row(int(i), 'review', detail=detail(looks[i])) for i in rows[which]),
            )

    def column(name: str) -> np.ndarray:
        return np.array([getattr(look, name) for look in looks], np.float64)

    bright, contrast, sharp = column('brightness'), column('contrast'), column('sharpness')
    width, height = column('width'), column('height')
    shorter, longer = np.minimum(width, height), np.maximum(width, height)
    dark = (bright < DARK) | (bright > BRIGHT)
    flat = contrast < FLAT
    yield from told(
        'blank images',
        flat & ~dark,
        'image is of one colour',
        'images are of one colour',
        lambda look: f'contrast {look.contrast:.1f} of 255',
    )
    yield from told(
        'dark or bright images',
        dark,
        'image is nearly black or white',
        'images are nearly black or white',
        lambda look: f'brightness {look.brightness:.0f} of 255',
    )
    large = shorter >= _SHARP_FROM
    if large.sum() >= 20:
        blurred = np.zeros(len(looks), bool)
        blurred[large] = outlying(sharp[large], BLURRED)
        yield from told(
            'blurred images',
            blurred & ~flat & ~dark,
            'image is far less sharp than the rest',
            'images are far less sharp than the rest',
            lambda look: f'sharpness {look.sharpness:.2g}, median {np.median(sharp):.2g}',
        )
    tiny = shorter < min(TINY, network_side or TINY)
    small = tiny | (shorter < network_side / 4)
    if np.ptp(shorter) or tiny.any():
        yield from told(
            'tiny images',
            small,
            'image is tiny for what the network sees',
            'images are tiny for what the network sees',
            lambda look: f'{look.width} x {look.height} pixels',
        )
    yield from told(
        'odd shapes',
        longer > NARROW * np.maximum(shorter, 1),
        'image is more than three times as long as wide',
        'images are more than three times as long as wide',
        lambda look: f'{look.width} x {look.height} pixels',
    )
    turned = np.array([look.turned for look in looks])
    if turned.any():
        yield Finding(
            'EXIF rotation',
            'note',
            f'{counted(int(turned.sum()), "image is", "images are")} turned upright by EXIF; other '
            'programs may show them lying',
            tuple(Row(int(i), 'keep') for i in rows[turned]),
        )
    modes = collections.Counter(look.mode for look in looks)
    if len(modes) > 1:
        usual = modes.most_common(1)[0][0]
        listed = ', '.join(f'{mode} {count:,}' for mode, count in modes.most_common())
        yield Finding(
            'mixed modes',
            'note',
            f'images are of several modes: {listed}',
            tuple(
                Row(i, 'keep', detail=look.mode)
                for i, look in enumerate(looks)
                if look.mode != usual
            ),
        )
