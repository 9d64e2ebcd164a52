"""Data: sources, splits and folds, batches, preprocessing and augmentation on the device."""

from ftjax.data.augmentation import parse_augment
from ftjax.data.dataset import Dataset, Splits
from ftjax.data.images.on_device import augment, prepare
from ftjax.data.load import load_data
from ftjax.data.matching import matching_preprocessing
from ftjax.data.settings import DataSettings
from ftjax.data.splits.splitting import fold
from ftjax.data.streams.evaluation_batches import EvalBatches, eval_batches
from ftjax.data.streams.train_stream import TrainStream
from ftjax.data.text.stacked_batches import stacked

__all__ = [
    'DataSettings',
    'Dataset',
    'EvalBatches',
    'Splits',
    'TrainStream',
    'augment',
    'eval_batches',
    'fold',
    'load_data',
    'matching_preprocessing',
    'parse_augment',
    'prepare',
    'stacked',
]
