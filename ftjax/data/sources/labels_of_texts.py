"""Labels of texts that do not stand in a table, with what the texts tell of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.data.labels import LabelKind


def labels_of_texts(
    kind: LabelKind,
    texts: Mapping[str, Sequence[Any]],
    labels: Mapping[str, np.ndarray],
    where: Callable[[str, int], str],
) -> dict[str, np.ndarray]:
    """The labels of all splits by `LabelKind.of_inputs`: equal texts have one number in all.

    Args:
      kind: of the labels.
      texts: by split, a text or several texts of each example.
      labels: by split, as `kind.read` gives them.
      where: split and position in it -> where an example stands, for messages.

    Raises:
      UserError: a label does not go with its texts.
    """
    places = [(part, row) for part, own in texts.items() for row in range(len(own))]
    every = [text for own in texts.values() for text in own]
    joined = np.concatenate([labels[part] for part in texts])
    found = kind.of_inputs(every, joined, lambda row: where(*places[row]))
    ends = np.cumsum([len(own) for own in texts.values()])[:-1]
    return dict(zip(texts, np.split(found, ends), strict=True))
