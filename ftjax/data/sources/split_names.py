"""Names of folders, files and rows that mean a split."""

from __future__ import annotations

import re

SPLIT_NAMES = {
    'train': 'train',
    'training': 'train',
    'val': 'val',
    'valid': 'val',
    'validation': 'val',
    'dev': 'val',
    'test': 'test',
    'testing': 'test',
}
"""Words that mean a split, in small letters."""

_SAY_NOTHING = {'set', 'data', 'dataset', 'split', 'folder', 'image', 'images', 'img', 'imgs'}


def split_of(name: str) -> tuple[str, str] | None:
    """The split that a folder's name means, and what else the name says; None for no split.

    >>> split_of('Train'), split_of('seg_test'), split_of('val2017'), split_of('station')
    (('train', ''), ('test', 'seg'), ('val', ''), None)
    """
    words = re.findall(r'[^\W\d_]+', name.casefold())
    words = [w.removesuffix('set') if w.removesuffix('set') in SPLIT_NAMES else w for w in words]
    found = [word for word in words if word in SPLIT_NAMES]
    if len(found) != 1:
        return None
    rest = [word for word in words if word not in SPLIT_NAMES and word not in _SAY_NOTHING]
    return SPLIT_NAMES[found[0]], ' '.join(rest)
