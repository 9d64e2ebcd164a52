"""Keys of `config.data` that only some kinds of labels read, and the check that others set none."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ftjax.data.labels.label_kind import LabelKind
from ftjax.errors import UserError


def _of_pixels(kind: LabelKind) -> bool:
    return kind.head == 'dense'


OWN_KEYS: Mapping[str, tuple[Callable[[LabelKind], bool], str]] = {
    'ignore_index': (_of_pixels, 'labels of each pixel'),
    'label_scale': (lambda kind: kind.scaled, 'labels that are numbers'),
    'label_separator': (lambda kind: kind.parted, 'several labels an example'),
    'packing': (lambda kind: kind.packs, 'texts of a decoder'),
    'palette': (_of_pixels, 'labels of each pixel'),
    'sliding': (_of_pixels, 'labels of each pixel'),
    'units': (lambda kind: kind.form == 'words', 'a tag for each word'),
}
"""Key -> which kinds read it, and what these are called."""


def check_own_keys(changed: Mapping[str, object], kind: LabelKind, task: str) -> None:
    """Raises UserError for a key that would change nothing, since this kind does not read it.

    Args:
      changed: the keys of `config.data` that have not their default, with their values; None
        says nothing.
      task: `data.task`, for the message.
    """
    for key, (reads, labels) in OWN_KEYS.items():
        if changed.get(key) is not None and not reads(kind):
            raise UserError(f'data.{key} needs {labels}; data.task is {task}')
