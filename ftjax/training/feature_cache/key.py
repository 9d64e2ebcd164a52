"""The key of stored features: a hash of all that they depend on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from typing import Any

import jax

from ftjax.data.augmentation import of_kind, parse_augment
from ftjax.data.dataset import Dataset
from ftjax.errors import UserError
from ftjax.io.files.atomic import to_jsonable
from ftjax.io.identity.source_code import code_identity
from ftjax.io.process.processor import processor_kind
from ftjax.models.registry import options_of
from ftjax.models.stages import Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pytrees import Variables

VERSION = 3  # of what is stored; a change of how features are computed raises it


def prefix_of(network: Network, variables: Variables, cut: str | None) -> dict[str, object]:
    """The variables of the stages before the cut, collection by collection; of all with None."""
    before = set(network.stages[: None if cut is None else network.stages.index(cut)])
    return {
        name: {stage: leaves for stage, leaves in tree.items() if stage in before}
        for name, tree in variables.items()
        if any(stage in before for stage in tree)
    }


def features_key(
    network: Network,
    cut: str | None,
    weights: str,
    dataset: Dataset,
    preprocessing: Preprocessing | TextPreprocessing | None,
    image_size: tuple[int, int] | None,
    augmentation: str = 'none',
    view: int | None = None,
) -> str:
    """SHA-256 (hex) of weights, network, preprocessing, image size, examples, view and backend.

    Of a network or an augmentation of the user's own its code counts too.

    Args:
      weights: `weights_hash` of `prefix_of(network, variables, cut)`.
      dataset: its fingerprint holds contents, order and labels.
      view: number of an augmented view; None for the examples as they are.
    """
    facts = {
        'version': VERSION,
        'network': described(network),
        'cut': cut,
        'weights': weights,
        'examples': dataset.fingerprint,
        'read_with': [dataset.channels, dataset.max_length],
        'preprocessing': None if preprocessing is None else compared(preprocessing),
        'image_size': image_size,
        **({'arrays': 'cropped'} if _crops_arrays(dataset, preprocessing) else {}),
        'view': None if view is None else [augmentation, view],
        # Another compiler or machine gives other last digits.
        'made_by': [jax.__version__, jax.default_backend(), jax.device_count(), processor_kind()],
        'code': code_identity(
            {
                'network': network,
                **{f'part {n}': each for n, each in enumerate(network.made_of)},
                **augmentations_of(augmentation, view),
            }
        ),
        'precision': str(getattr(jax.config, 'jax_default_matmul_precision', None)),
    }
    text = json.dumps(to_jsonable(facts), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _crops_arrays(dataset: Dataset, preprocessing: object) -> bool:
    """Whether arrays of the network's own size are cropped, which once they were not."""
    return dataset.kind == 'image' and getattr(preprocessing, 'crop_fraction', 1.0) < 1


def described(network: Network) -> Any:
    """Family and fields of a network; the number of classes is the head's affair."""
    try:
        name, options = options_of(network)
    except UserError:  # a network of the user's own; addresses of functions say nothing
        return re.sub(r' at 0x[0-9a-f]+', '', f'{type(network).__module__}.{network!r}')
    return [name, {key: value for key, value in options.items() if key != 'num_classes'}]


def augmentations_of(augmentation: str, view: int | None = 0) -> dict[str, object]:
    """The functions that make an augmented view of images, by name."""
    todo = [] if view is None else of_kind(parse_augment(augmentation), 'images')
    return {f'augmentation {term.name}': term.part.function for term in todo}


def compared(preprocessing: Preprocessing | TextPreprocessing) -> dict[str, object]:
    """The fields that decide what a preprocessing does: not where a tokenizer lies."""
    kept = [field.name for field in dataclasses.fields(preprocessing) if field.compare]
    return {name: getattr(preprocessing, name) for name in kept}
