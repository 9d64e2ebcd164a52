"""What a network answers to a split, as the settings of its data look at it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjax.data import Dataset, eval_batches
from ftjax.data.settings import DataSettings
from ftjax.evaluation.own_answers import answers
from ftjax.evaluation.own_pairs import Pairs
from ftjax.evaluation.predict import predict
from ftjax.models.stages import Network
from ftjax.pytrees import Variables

if TYPE_CHECKING:
    from ftjax.preprocessing.images import Preprocessing
    from ftjax.preprocessing.texts import TextPreprocessing


def split_outputs(
    network: Network,
    variables: Variables,
    dataset: Dataset,
    settings: DataSettings,
    preprocessing: Preprocessing | TextPreprocessing | None,
    batch_size: int | None = None,
    shared: bool = False,
) -> Pairs:
    """(outputs, batch) that hold every example of a split, as its settings look at it.

    With `data.sliding` these are logits (1, height, width, classes) of one image after the other.

    Args:
      network, variables, preprocessing: as of `predict`.
      dataset: the split.
      settings: of the data: `sliding`, `image_size`, `eval_batch_size`, `tta`.
      batch_size: examples or windows a batch, in place of `eval_batch_size`.
      shared: whether several processes share the split: each gets its own part, as `OwnPairs`,
        and all have to use it up. Of windows it is every so many-th image.
    """
    size = batch_size or settings.eval_batch_size
    if settings.sliding is not None:
        from ftjax.evaluation.sliding import window_outputs  # few runs answer by windows

        return window_outputs(network, variables, dataset, settings, preprocessing, size, shared)
    batches = eval_batches(dataset, size, settings.image_size, preprocessing)
    answered = answers if shared else predict
    return answered(network, variables, batches, preprocessing, tta=settings.tta)
