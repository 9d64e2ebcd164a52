"""What the folder of a network says of how its inputs are read."""

from __future__ import annotations

import dataclasses

from ftjax.data.dataset import Splits
from ftjax.data.settings import DataSettings

READ = (
    *('task', 'text_column', 'text_pair_column', 'path_column', 'label_column', 'layout'),
    *('delimiter', 'quoting', 'encoding', 'label_separator', 'channels', 'image_size'),
    *('max_length', 'eval_batch_size', 'tta', 'units', 'text_columns', 'palette', 'sliding'),
)
"""Fields of `config.data` that say how inputs are read, wherever they come from."""


def how_read(settings: DataSettings, data: Splits) -> dict[str, object]:
    """What a model's folder says of how inputs are read: plain JSON."""
    fields = {name: getattr(settings, name) for name in READ}
    whites = data.train.whites
    return {'data': fields, 'whites': None if whites is None else dataclasses.asdict(whites)}
