"""Adapters in PEFT's own format: adapter_config.json and adapter_model.safetensors.

Tensors are named `base_model.model.MODULE.lora_A.weight` (rank, inputs), `.lora_B.weight`
(outputs, rank), `.lora_magnitude_vector` (outputs,), `.oft_R.weight` (blocks, triangle) and
`.ia3_l`, (outputs, 1) or (1, inputs)
where it scales what goes in. MODULE is the name in a live model of transformers 5, which for
some families differs from the one in its files.
Format: huggingface.co/docs/peft/developer_guides/checkpoint.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Collection

import numpy as np

from ftjax.errors import UserError
from ftjax.export.peft_tensors import ia3_tensors, lora_tensors, oft_tensors
from ftjax.export.source_names import to_source
from ftjax.leaves import flatten, unflatten
from ftjax.models.adapters.adapted import Adapted, merge, read_adapter
from ftjax.models.adapters.ia3 import IA3
from ftjax.models.adapters.lora import LoRA
from ftjax.models.adapters.oft import OFT
from ftjax.pretrained import families, own_format
from ftjax.pretrained.keymaps.keymap import KeyMap
from ftjax.pretrained.live_names import renamed
from ftjax.pretrained.peft.adapter_folder import CONFIG, WEIGHTS
from ftjax.pretrained.readers.safetensors_file import write_safetensors
from ftjax.pytrees import Variables


def save_peft(
    folder: str | os.PathLike[str],
    network: Adapted,
    variables: Variables,
    *,
    also: Collection[str] = (),
    base: str | None = None,
    revision: str | None = None,
) -> pathlib.Path:
    """Writes what LoRA (rsLoRA, DoRA), OFT or IA3 added, and other trained leaves, for PEFT.

    Args:
      folder: made if need be.
      network: with exactly one adapter of these kinds.
      variables: {'params': ..}, with the base's own leaves, which are not written.
      also: paths of leaves that come along whole, those of a new head for instance: the
        modules that hold them become `modules_to_save`.
      base: name or folder of the network that the adapter was trained on.
      revision: its commit.

    Raises:
      UserError: PEFT or transformers has no place for the network or its adapters.
    """
    folder, adapter = pathlib.Path(folder), only_adapter(network)
    plain = network.network
    family = families.family_of_network(plain)
    config = families.module(family).config_from_network(plain, ())
    keymap = families.key_map(family, config, ())
    params = {k.removeprefix('params/'): np.asarray(leaf) for k, leaf in flatten(variables).items()}
    also = {*also, *whole_layers(network, variables, params, also, family, keymap)}
    if isinstance(adapter, LoRA):
        tensors, fields = lora_tensors(adapter, params, family, keymap)
    elif isinstance(adapter, OFT):
        tensors, fields = oft_tensors(adapter, params, family, keymap)
    else:
        tensors, fields = ia3_tensors(params, family, keymap)
    if not fields['target_modules']:
        raise UserError(
            'every adapted layer comes along whole, and PEFT adapts none of those; export it merged'
        )
    whole = unflatten({f'params/{path}': params[path] for path in also})
    kept = {
        renamed(family, name): give() for name, (_, _, give) in to_source(whole, keymap).items()
    }
    modules = sorted({name.rpartition('.')[0] for name in kept})
    fields |= {
        'peft_type': adapter.kind.upper(),
        'task_type': None,
        'inference_mode': True,
        'fan_in_fan_out': family == 'gpt2',
        'modules_to_save': modules or None,
        'base_model_name_or_path': base,
        'revision': revision,
        'auto_mapping': {
            'base_model_class': config['architectures'][0],
            'parent_library': 'transformers',
        },
    }
    named = {f'base_model.model.{n}': np.ascontiguousarray(t) for n, t in (tensors | kept).items()}
    write_safetensors(
        folder / WEIGHTS,
        {n: (t.dtype, t.shape, lambda t=t: t) for n, t in named.items()},
        {'format': 'pt'},
    )
    own_format.write_json(folder / CONFIG, fields)
    return folder


def whole_layers(
    network: Adapted,
    variables: Variables,
    params: dict[str, np.ndarray],
    also: Collection[str],
    family: str,
    keymap: KeyMap,
) -> set[str]:
    """Paths of adapted kernels and biases whose modules come along whole: merged.

    PEFT puts no adapter on a module of `modules_to_save`. Changes `params`: the adapters of these
    modules are gone, and their other leaves are merged.
    """
    whole = {_module(family, keymap, path) for path in also}
    of_adapter = {path for path in params if network.is_adapter_leaf(path)}
    layers = {path.rpartition('/')[0] for path in of_adapter}
    modules = {_module(family, keymap, f'{layer}/kernel') for layer in layers} & whole - {None}
    if not modules:
        return set()
    merged = flatten(merge(network, variables)[1])
    # Of a module that the source fuses all parts, adapted or not.
    found = {
        path
        for path in params
        if path not in of_adapter and _module(family, keymap, path) in modules
    }
    params.update({path: np.asarray(merged[f'params/{path}']) for path in found})
    layers = {path.rpartition('/')[0] for path in found}
    for path in of_adapter:
        if path.rpartition('/')[0] in layers:
            del params[path]
    return found


def _module(family: str, keymap: KeyMap, path: str) -> str | None:
    """The module of a live model that holds a leaf; None for a leaf that no rule names."""
    found = keymap.source_of(f'params/{path}')
    return None if found is None else renamed(family, found[0]).rpartition('.')[0]


def only_adapter(network: Adapted) -> LoRA | OFT | IA3:
    """The network's one adapter; UserError where PEFT cannot hold what it has."""
    found = [read_adapter(text) for text in network.adapters]
    if len(found) == 1 and isinstance(found[0], (LoRA, OFT, IA3)):
        return found[0]
    kinds = '+'.join(adapter.kind for adapter in found)
    remedy = 'merged' if all(adapter.mergeable for adapter in found) else 'our own format'
    raise UserError(
        f"PEFT's format holds one lora, oft or ia3 here, not {kinds}; what is left is {remedy}"
    )
