"""Whether data and network go together, and the preprocessing that a run then has."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.data.settings import DataSettings
from ftjax.data.tables.fitted_columns import matching_table
from ftjax.data.text.trained_tokenizer import trained_tokenizer, wanted
from ftjax.data.user_paths import resolve_path
from ftjax.errors import UserError
from ftjax.preprocessing.texts import TextPreprocessing, text_preprocessing
from ftjax.registry import parse

if TYPE_CHECKING:
    from ftjax.models.stages import Network
    from ftjax.preprocessing.images import Preprocessing


def matching_preprocessing(
    dataset: Dataset,
    network: Network,
    preprocessing: Preprocessing | TextPreprocessing | None,
    settings: DataSettings,
) -> Preprocessing | TextPreprocessing | None:
    """The preprocessing of a run on these data; that of images is returned as it is.

    That of texts is cut to data.max_length (see `of_length`), and made from data.tokenizer for a
    network that came without a tokenizer.

    Args:
      dataset: the training split: its texts make a tokenizer where data.tokenizer asks for it.
      network: what takes the inputs.
      preprocessing: what came with the network, if anything did.
      settings: `config.data`.

    Raises:
      UserError: texts for a network of images or the reverse, no tokenizer, or masked tokens
        for a network that does not guess any.
    """
    takes = 'texts' if isinstance(preprocessing, TextPreprocessing) else network.takes
    check_takes(dataset, type(network).__name__, takes)
    check_views(dataset, preprocessing, settings)
    if takes == 'table':
        return matching_table(dataset, network, preprocessing, settings)
    if takes != 'texts':
        check_head(dataset, network)
        images: Any = preprocessing
        if settings.window is not None and hasattr(preprocessing, 'window'):
            images = dataclasses.replace(images, window=settings.window)
        elif settings.sliding is not None and getattr(preprocessing, 'window', None):
            centre, width = images.window  # windows of images are cut before a network is there
            raise UserError(
                f'the network looks at values through data.window=({centre:g}, {width:g}); with '
                'data.sliding say it in the settings too'
            )
        if network.is_dense and images is not None:  # what a crop cuts off would have no answer
            images = dataclasses.replace(images, resize='squash', crop_fraction=1.0)
        return images
    check_head(dataset, network)
    if settings.tokenizer:
        made = wanted(settings.tokenizer)
        path = resolve_path(settings.tokenizer)
        if made is not None:
            prefix, size = made
            path = trained_tokenizer(dataset.inputs.reshape(-1), size, prefix)
        preprocessing = text_preprocessing(network, path)
    if not isinstance(preprocessing, TextPreprocessing):
        raise UserError(
            f'{type(network).__name__} came without a tokenizer that can be read; put its '
            'tokenizer.json beside the weights, or name one by data.tokenizer'
        )
    form = dataset.label_kind.form
    return dataclasses.replace(of_length(preprocessing, network, settings.max_length), form=form)


def of_length(
    preprocessing: TextPreprocessing, network: Network, asked: int | None
) -> TextPreprocessing:
    """A preprocessing cut to data.max_length.

    What is asked for may exceed the cut that came with the weights, up to what the network takes;
    the default does not, as nobody asked for it.

    Args:
      preprocessing: what came with the network.
      network: what takes the texts.
      asked: data.max_length; None for as many tokens as the network takes.

    Raises:
      UserError: more than the network takes.
    """
    longest = network.longest_text
    if asked is None:
        return preprocessing if longest is None else preprocessing.of_length(longest)
    if asked == DataSettings.max_length:
        return preprocessing.with_length(asked)
    if longest is not None and asked > longest:
        raise UserError(
            f'config.data.max_length is {asked} tokens, and {type(network).__name__} takes texts '
            f'of at most {longest}; set it to {longest} or less, or to None for as many as the '
            'network takes'
        )
    return preprocessing.of_length(asked)


DECODERS = 'a decoder (gpt2, llama, gemma, ..; shipped: docstrings_lm)'
NETWORKS = {
    'images': 'a network of images (vit, resnet, convnext, ..; shipped: glyphs)',
    'texts': 'an encoder of texts (bert, roberta, modernbert, ..; shipped: docstrings)',
    'table': "a network of tables (config.init='', config.model.name='mlp')",
}
"""What takes each kind of input, with names of families and what is shipped."""


def check_takes(dataset: Dataset, name: str, takes: str) -> None:
    """UserError unless a network of that name takes what the data are; says which would."""
    if takes == dataset.takes:
        return
    said = {'table': 'rows of a table'}
    needed = DECODERS if dataset.label_kind.causal else NETWORKS[dataset.takes]
    raise UserError(
        f'{dataset.name}: {name} takes {said.get(takes, takes)}, the data are '
        f'{said.get(dataset.takes, dataset.takes)}; data.task {dataset.task} needs {needed}: '
        'choose another config.init, or another config.data.source'
    )


NEEDED = {
    'lm': ('guesses tokens', "head to 'lm'"),
    'tags': ('answers for every token', "pool to 'none'"),
    'vector': ('gives a vector', "head to 'vector'"),
    'dense': ('answers each position of an image', "head to 'linear' or 'fpn'"),
}
"""Heads that a task may need: what they do, and the option of the network for one."""


def check_head(dataset: Dataset, network: Network) -> None:
    """UserError unless a network has the head that the task of the data needs."""
    needs, has = dataset.label_kind.head, network.head_kind
    if dataset.label_kind.causal and has == 'lm' and not network.is_decoder:
        raise UserError(
            f'{dataset.name}: data.task {dataset.task} guesses each token from those before '
            f'it, and {type(network).__name__} sees those after it too; choose {DECODERS}'
        )
    if needs == has or (has == 'lm' and needs not in NEEDED):
        return
    # Not above: a server reads inputs by this room, and has no flax.
    from ftjax.models.adapters.adapted import plain_network

    name = type(plain_network(network)).__name__
    if needs in NEEDED:
        does, remedy = NEEDED[needs]
        raise UserError(
            f'{dataset.name}: data.task {dataset.task} needs a head that {does}, and {name} has '
            f'none; set config.model.{remedy}'
        )
    raise UserError(
        f'{dataset.name}: data.task {dataset.task} takes outputs of a whole example, and the head '
        f'of {name} {NEEDED.get(has, ("is of another kind", ""))[0]}'
        + ("; set config.model.head to 'pooled'" if has == 'dense' else '')
    )


def check_views(dataset: Dataset, preprocessing: object, settings: DataSettings) -> None:
    """UserError where data.tta cannot be of these examples, before anything is trained."""
    if settings.tta in ('', 'none'):
        return
    if dataset.label_kind.head == 'dense':
        raise UserError(
            f'data.tta {settings.tta!r} moves images, and answers for each pixel are not moved '
            f"back; expected 'none' for {dataset.name}"
        )
    if dataset.takes != 'images':
        raise UserError(
            f"data.tta {settings.tta!r} is for images; expected 'none' for {dataset.name}"
        )
    size = settings.image_size or getattr(preprocessing, 'image_size', None)
    if size is not None:
        images = jax.ShapeDtypeStruct((1, *size, 3), np.float32)
        jax.eval_shape(parse('tta', settings.tta), images)
