"""The networks that steps are timed on, with made data: what inputs show changes no cost."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import numpy as np

TEXTS = 256
WORDS = 62  # and the two tokens that the tokenizer adds


@dataclasses.dataclass(frozen=True)
class Case:
    """A network and its batches, for both sides."""

    title: str
    family: str
    options: dict[str, Any]
    batch: int
    examples: int
    unit: str = 'images'

    @property
    def precision(self) -> str:
        """Of the computation; weights are float32."""
        return self.options.get('dtype', 'float32')

    def network(self) -> tuple[Any, Any]:
        """The network and its variables, random."""
        import jax

        from ftjax.models.registry import build

        network = build(self.family, self.options)
        return network, jax.jit(network.init)(jax.random.key(0), network.example_input())

    def data(self, network: Any, folder: pathlib.Path) -> tuple[Any, Any]:
        """(splits, preprocessing); a tokenizer is written to the folder."""
        from benchmarks.sides import made_images, made_masks

        from ftjax.data import Splits
        from ftjax.preprocessing.images import Preprocessing
        from ftjax.preprocessing.texts import text_preprocessing

        if self.unit != 'sentences':
            size, make = self.options['image_size'], made_images
            if self.unit == 'masks':
                make = made_masks
            train, val = make(self.examples, size), make(8, size, seed=1)
            preprocessing: Any = Preprocessing(image_size=(size, size))
        else:
            train, val = made_texts(self.examples), made_texts(8, seed=1)
            made = text_preprocessing(network, made_tokenizer(folder, network.vocab_size))
            assert made is not None
            preprocessing = made.with_length(WORDS + 2)
        return Splits(train=train, val=val, test=val), preprocessing


def vit(image: int = 224, width: int = 192, depth: int = 12, heads: int = 3, **more: Any) -> dict:
    """Options of a ViT with patches of 16 pixels."""
    sizes = {'width': width, 'depth': depth, 'heads': heads, **more}
    return {'image_size': image, 'patch_size': 16, 'num_classes': 10, **sizes}


BERT = {'width': 384, 'depth': 6, 'heads': 12, 'mlp_dim': 1536, 'num_classes': 10}
NOISELESS = {'dropout': 0.0, 'head_dropout': 0.0}
LARGE = vit(width=768, heads=12, dtype='bfloat16')

CASES = {
    'vit': Case('ViT', 'vit', vit(), 16, 64),
    'bert': Case('BERT', 'bert', {**BERT, **NOISELESS}, 32, TEXTS, 'sentences'),
    'resnet': Case('ResNet-26', 'resnet_gn_cifar', {'depth': 26, 'image_size': 32}, 64, 256),
    'segmentation': Case(
        'ViT segmentation', 'vit', vit(num_classes=21, head='linear'), 16, 64, 'masks'
    ),
    'vit_b': Case('ViT-B/16 bf16', 'vit', LARGE, 128, 1024),
}
"""All but the last are of the table for a CPU; the last is for a GPU."""


def made_texts(count: int, seed: int = 0) -> Any:
    """A data set of texts of `WORDS` random words."""
    from ftjax.data import Dataset

    rng = np.random.default_rng(seed)
    rows = rng.integers(5, 30_000, (count, WORDS))
    return Dataset(
        name=f'random {seed}',
        kind='text',
        inputs=[' '.join(f'w{word}' for word in row) for row in rows],
        labels=np.arange(count) % 10,
        class_names=tuple(map(str, range(10))),
    )


def made_tokenizer(folder: pathlib.Path, rows: int) -> pathlib.Path:
    """A tokenizer.json that knows a word a row, and puts a text between two tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    special = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]')
    names = [*special, *(f'w{row}' for row in range(len(special), rows))]
    tokenizer = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, '[UNK]'))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single='[CLS] $A [SEP]',
        pair='[CLS] $A [SEP] $B:1 [SEP]:1',
        special_tokens=[('[CLS]', 2), ('[SEP]', 3)],
    )
    path = folder / 'tokenizer.json'
    tokenizer.save(str(path))
    return path
