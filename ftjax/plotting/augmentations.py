"""A picture of what augmentation does to a training batch: each example before and after."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from ftjax.data.images.mixing import mixed
from ftjax.data.images.on_device import augment, unit_range
from ftjax.errors import UserError
from ftjax.pytrees import Batch

EXAMPLES, DRAWS = 8, 4


def augmented_figure(batch: Batch, names: str, seed: int = 0, said: Any = ()):
    """A row an example: the image as it is read, then some draws; as a matplotlib Figure.

    Args:
      batch: a training batch: 'inputs' uint8 or float (B, H, W, C).
      names: as `config.data.augment`.
      seed: of the draws.
      said: a word for each example, its class for instance; () for none.

    Raises:
      UserError: the inputs are no images.
    """
    from matplotlib.figure import Figure

    images = batch['inputs']
    if not hasattr(images, 'ndim') or images.ndim != 4:
        raise UserError('--show-augment draws images; the data are none')
    count = min(EXAMPLES, len(images))
    columns = [np.asarray(unit_range(jax.numpy.asarray(images)))[:count]]
    draw = jax.jit(lambda x, key: mixed(augment(x, key, names), key, names)[0])
    for number in range(DRAWS):
        key = jax.random.fold_in(jax.random.key(seed), number)
        # All of the batch: mixing takes partners from the whole.
        columns.append(np.asarray(unit_range(draw(images, key)))[:count])
    figure = Figure(figsize=(1.25 * (DRAWS + 1), 1.25 * count + 0.5), layout='constrained')
    axes = figure.subplots(count, DRAWS + 1, squeeze=False)
    for row in range(count):
        for column, shown in enumerate(columns):
            image = np.clip(shown[row], 0, 1)
            grey = image.shape[-1] == 1
            axes[row, column].imshow(image[..., 0] if grey else image, cmap='gray', vmin=0, vmax=1)
            axes[row, column].set_axis_off()
        if len(said):
            axes[row, 0].set_title(str(said[row])[:18], fontsize=7, pad=2)
    figure.suptitle(f'left: as read; right: {names}', fontsize=9)
    return figure
