"""What each kind of adapter is in PEFT's format: tensors, and fields of adapter_config.json."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from ftjax.errors import UserError
from ftjax.export.peft_modules import parts_of
from ftjax.models.adapters.lora import LoRA, column_norm
from ftjax.models.adapters.oft import OFT
from ftjax.pretrained.keymaps.keymap import KeyMap, Match


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
        where = rows_of(params, parts[0].match)
        tensors[f'{module}.lora_A.weight'] = np.concatenate(
            [params[f'{part.at}lora_a'].T for part in parts]
        )
        rank = adapter.rank * len(parts)
        factor = np.zeros((where[-1].stop, rank), params[f'{parts[0].at}lora_b'].dtype)
        for place, part in enumerate(parts):
            columns = slice(place * adapter.rank, (place + 1) * adapter.rank)
            factor[where[part.index], columns] = params[f'{part.at}lora_b'].T
        tensors[f'{module}.lora_B.weight'] = factor
        if adapter.magnitude:
            tensors[f'{module}.lora_magnitude_vector'] = magnitudes(params, parts[0].match)
        if parts[0].is_pointwise:
            for factors in ('lora_A.weight', 'lora_B.weight'):
                tensors[f'{module}.{factors}'] = tensors[f'{module}.{factors}'][..., None, None]
            if adapter.magnitude:
                lengths = tensors[f'{module}.lora_magnitude_vector']
                tensors[f'{module}.lora_magnitude_vector'] = lengths.reshape(1, -1, 1, 1)
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


def rows_of(params: Mapping[str, np.ndarray], match: Match) -> list[slice]:
    """Rows of each part of a module that the source fuses; keys have fewer where they share."""
    kernels = [params[key.removeprefix('params/')] for key in match.keys]
    ends = np.cumsum([kernel.shape[-1] for kernel in kernels]).tolist()
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


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
        where = rows_of(params, parts[0].match)
        factors = np.ones((where[-1].stop, 1), np.float32)
        for part in parts:
            factors[where[part.index], 0] = params[f'{part.at}ia3_output']
        tensors[f'{module}.ia3_l'] = factors
    inputs = parts_of(params, 'ia3_input', family, keymap)
    for module, parts in inputs.items():
        tensors[f'{module}.ia3_l'] = params[f'{parts[0].at}ia3_input'].reshape(1, -1)
    return tensors, {
        'target_modules': sorted({*outputs, *inputs}),
        'feedforward_modules': sorted(inputs),
        'init_ia3_weights': True,
    }


def oft_tensors(
    adapter: OFT, params: Mapping[str, np.ndarray], family: str, keymap: KeyMap
) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """Tensors by module, and the fields of adapter_config.json.

    A module that the source fuses has one rotation for all its parts: a part's own has no place.
    """
    tensors: dict[str, np.ndarray] = {}
    for module, parts in parts_of(params, 'oft_q', family, keymap).items():
        if family == 'gpt2':
            raise UserError(
                f'{module} is a Conv1D of transformers, in which PEFT rotates no inputs; export it '
                'merged'
            )
        if len(parts[0].match.keys) > 1:
            raise UserError(
                f'{parts[0].at[:-1]} is a part of {module} in transformers, whose inputs PEFT '
                'rotates as one; export it merged'
            )
        tensors[f'{module}.oft_R.weight'] = params[f'{parts[0].at}oft_q']
    return tensors, {
        'r': 0,
        'oft_block_size': adapter.block,
        'use_cayley_neumann': False,
        'module_dropout': 0.0,
        'bias': 'none',
        'init_weights': True,
        'target_modules': sorted(name.removesuffix('.oft_R.weight') for name in tensors),
    }
