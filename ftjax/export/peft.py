"""Adapters in PEFT's own format: adapter_config.json and adapter_model.safetensors.

Tensors are named `base_model.model.MODULE.lora_A.weight` (rank, inputs), `.lora_B.weight`
(outputs, rank), `.lora_magnitude_vector` (outputs,) and `.ia3_l`, (outputs, 1) or (1, inputs)
where it scales what goes in. MODULE is the name in a live model of transformers 5, which for
some families differs from the one in its files.
Format: huggingface.co/docs/peft/developer_guides/checkpoint.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Collection, Mapping

import numpy as np

from ftjax.errors import UserError
from ftjax.export.source_names import to_source
from ftjax.leaves import flatten, unflatten
from ftjax.models.adapters.adapted import Adapted, read_adapter
from ftjax.models.adapters.adapter import holders
from ftjax.models.adapters.ia3 import IA3
from ftjax.models.adapters.lora import LoRA, column_norm
from ftjax.pretrained import families, own_format
from ftjax.pretrained.keymaps.keymap import KeyMap, Match
from ftjax.pretrained.readers.safetensors_file import write_safetensors
from ftjax.pytrees import Variables

CONFIG, WEIGHTS = 'adapter_config.json', 'adapter_model.safetensors'
_QKV = tuple((part, f'{part[0]}_proj') for part in ('query', 'key', 'value'))
_VIT = (
    ('encoder.layer.', 'layers.'),
    *((f'attention.attention.{old}', f'attention.{new}') for old, new in _QKV),
    ('attention.output.dense', 'attention.o_proj'),
    ('intermediate.dense', 'mlp.fc1'),
    ('output.dense', 'mlp.fc2'),
)
# Names in files -> names of modules, replaced in this order.
MODULES: dict[str, tuple[tuple[str, str], ...]] = {
    'vit': _VIT,
    'deit': _VIT,
    'vit_mae': _VIT,
    'beit': _VIT,
    'dinov3': (('layer.', 'model.layer.'),),
    'dinov3_convnext': (('stages.', 'model.stages.'),),
    'dinov2': (*_VIT[1:5], ('mlp.weights_out', 'mlp.down_proj')),
    'swin': (
        *((f'attention.self.{old}', f'attention.{new}') for old, new in _QKV),
        *_VIT[4:],
    ),
}


@dataclasses.dataclass(frozen=True)
class Part:
    """One of our layers that has an adapter, and where PEFT has it."""

    at: str
    """Path of our layer with a slash at the end."""
    module: str
    match: Match
    """The rule of the layer's kernel: several keys where the source fuses layers."""

    @property
    def index(self) -> int:
        """Which part of a fused layer it is."""
        return self.match.keys.index(f'params/{self.at}kernel')


def save_peft(
    folder: str | os.PathLike[str],
    network: Adapted,
    variables: Variables,
    *,
    also: Collection[str] = (),
    base: str | None = None,
    revision: str | None = None,
) -> pathlib.Path:
    """Writes what LoRA (rsLoRA, DoRA) or IA3 added, and other trained leaves, for PEFT.

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
    if isinstance(adapter, LoRA):
        tensors, fields = lora_tensors(adapter, params, family, keymap)
    else:
        tensors, fields = ia3_tensors(params, family, keymap)
    whole = unflatten({f'params/{path}': params[path] for path in also})
    kept = {
        renamed(family, name): give() for name, (_, _, give) in to_source(whole, keymap).items()
    }
    modules = sorted({name.rpartition('.')[0] for name in kept})
    fields |= {
        'peft_type': 'LORA' if isinstance(adapter, LoRA) else 'IA3',
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


def only_adapter(network: Adapted) -> LoRA | IA3:
    """The network's one adapter; UserError where PEFT cannot hold what it has."""
    found = [read_adapter(text) for text in network.adapters]
    if len(found) == 1 and isinstance(found[0], (LoRA, IA3)):
        return found[0]
    kinds = '+'.join(adapter.kind for adapter in found)
    remedy = 'merged' if all(adapter.mergeable for adapter in found) else 'our own format'
    raise UserError(
        f"PEFT's format holds one lora or ia3 here, not {kinds}; what is left is {remedy}"
    )


def renamed(family: str, name: str) -> str:
    """A tensor's or module's name in a file as the live model of transformers 5 has it."""
    for old, new in MODULES.get(family, ()):
        name = name.replace(old, new)
    return name


def parts_of(params: Variables, leaf: str, family: str, keymap: KeyMap) -> dict[str, list[Part]]:
    """Module -> our layers with a leaf of this name that it holds; several if it is fused."""
    found: dict[str, list[Part]] = {}
    for at in holders(params, leaf):
        named = keymap.source_of(f'params/{at}kernel')
        if named is None or not named[0].endswith('.weight'):
            raise UserError(f'{family}: {at}kernel is no layer of its own in transformers')
        if named[0].endswith('mlp.weights_in.weight'):
            raise UserError(
                f'{at[:-1]} is a part of a layer that files have fused and live models have '
                'not; export it merged'
            )
        module = renamed(family, named[0].removesuffix('.weight'))
        found.setdefault(module, []).append(Part(at, module, named[1]))
    return found


def lora_tensors(
    adapter: LoRA, params: Mapping[str, np.ndarray], family: str, keymap: KeyMap
) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """Tensors by module, and the fields of adapter_config.json.

    Layers that the source fuses share one pair of factors there: their ranks add up, each
    one's B is placed in its own rows, and alpha grows so that the scale stays.
    """
    tensors: dict[str, np.ndarray] = {}
    ranks, alphas = {}, {}
    modules = parts_of(params, 'lora_a', family, keymap)
    for module, parts in modules.items():
        out = params[f'{parts[0].at}lora_b'].shape[1]
        count = len(parts[0].match.keys)
        tensors[f'{module}.lora_A.weight'] = np.concatenate(
            [params[f'{part.at}lora_a'].T for part in parts]
        )
        rank = adapter.rank * len(parts)
        factor = np.zeros((count * out, rank), params[f'{parts[0].at}lora_b'].dtype)
        for place, part in enumerate(parts):
            rows = slice(part.index * out, (part.index + 1) * out)
            columns = slice(place * adapter.rank, (place + 1) * adapter.rank)
            factor[rows, columns] = params[f'{part.at}lora_b'].T
        tensors[f'{module}.lora_B.weight'] = factor
        if adapter.magnitude:
            tensors[f'{module}.lora_magnitude_vector'] = magnitudes(params, parts[0].match)
        if len(parts) > 1:
            ranks[re.escape(module)] = rank
            grown = len(parts) ** (0.5 if adapter.stabilised else 1)
            alphas[re.escape(module)] = adapter.alpha * grown
    return tensors, {
        'r': adapter.rank,
        'lora_alpha': adapter.alpha,
        'lora_dropout': 0.0,
        'bias': 'none',
        'use_rslora': adapter.stabilised,
        'use_dora': adapter.magnitude,
        'init_lora_weights': True,
        'rank_pattern': ranks,
        'alpha_pattern': alphas,
        'target_modules': sorted(modules),
    }


def magnitudes(params: Mapping[str, np.ndarray], match: Match) -> np.ndarray:
    """DoRA's lengths of a module's rows; the weights' own where a fused part has none."""
    found = []
    for key in match.keys:
        at = key.removeprefix('params/').removesuffix('kernel')
        learned = params.get(f'{at}dora_magnitude')
        found.append(np.asarray(column_norm(params[f'{at}kernel'])) if learned is None else learned)
    return np.concatenate(found)


def ia3_tensors(
    params: Mapping[str, np.ndarray], family: str, keymap: KeyMap
) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """Tensors by module, and the fields of adapter_config.json; 1 where a fused part has none."""
    tensors: dict[str, np.ndarray] = {}
    outputs = parts_of(params, 'ia3_output', family, keymap)
    for module, parts in outputs.items():
        size = params[f'{parts[0].at}ia3_output'].shape[0]
        factors = np.ones((len(parts[0].match.keys), size), np.float32)
        for part in parts:
            factors[part.index] = params[f'{part.at}ia3_output']
        tensors[f'{module}.ia3_l'] = factors.reshape(-1, 1)
    inputs = parts_of(params, 'ia3_input', family, keymap)
    for module, parts in inputs.items():
        tensors[f'{module}.ia3_l'] = params[f'{parts[0].at}ia3_input'].reshape(1, -1)
    return tensors, {
        'target_modules': sorted({*outputs, *inputs}),
        'feedforward_modules': sorted(inputs),
        'init_ia3_weights': True,
    }
