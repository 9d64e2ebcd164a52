"""A folder of PEFT: adapter_config.json, adapter_model.safetensors, and which network they are of.

Format: huggingface.co/docs/peft/developer_guides/checkpoint.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re

from ftjax.errors import UserError, check_name, shown
from ftjax.io.files.presence import existing
from ftjax.io.json.json_reader import LENIENT, read_object
from ftjax.io.json.json_values import (
    Flag,
    Integer,
    JsonObject,
    Number,
    Table,
    Text,
    check_table,
    optional,
)
from ftjax.pretrained.readers import TensorSource, open_source

CONFIG, WEIGHTS = 'adapter_config.json', 'adapter_model.safetensors'
PICKLE = 'adapter_model.bin'
KNOWN = ('LORA', 'OFT', 'IA3')
BLOCK = Integer(0, 2**16)
KINDS = {
    'peft_type': Text(),
    'base_model_name_or_path': optional(Text()),
    'revision': optional(Text()),
    'r': BLOCK,
    'lora_alpha': Number(-1e6, 1e6),
    'alpha_pattern': optional(Table(of=Number(-1e6, 1e6))),
    'use_rslora': Flag(),
    'use_dora': Flag(),
    'fan_in_fan_out': Flag(),
    'oft_block_size': BLOCK,
    'use_cayley_neumann': Flag(),
    'num_cayley_neumann_terms': Integer(1, 100),
    'auto_mapping': optional(Table()),
    'task_type': optional(Text()),
}
# What changes the weights in ways that are not merged here, and the value that leaves it out.
WITHOUT = {
    'coft': False,
    'lora_bias': False,
    'layer_replication': None,
    'trainable_token_indices': None,
    'target_parameters': None,
    'use_qalora': False,
    'use_bdlora': None,
    'arrow_config': None,
    'alora_invocation_tokens': None,
    'megatron_config': None,
}
# First factors that are taken out of the base's weights, which are not the same on another machine.
OF_THE_BASE = ('pissa', 'olora', 'corda', 'loftq', 'lora_ga')
HUB_NAME = re.compile(r'([\w-][\w.-]{0,95}/)?[\w-][\w.-]{0,95}')
LONGEST_PATTERN, MOST_REPEATS = 500, 3


@dataclasses.dataclass(frozen=True)
class AdapterFolder:
    """An adapter whose tensors have not been read."""

    path: pathlib.Path
    fields: JsonObject
    """Of adapter_config.json."""

    @property
    def kind(self) -> str:
        """LORA, OFT or IA3."""
        return self.fields['peft_type']

    def open(self) -> TensorSource:
        """Its tensors; UserError where there are none but a pickle's."""
        weights = self.path / WEIGHTS
        if not weights.exists() and (self.path / PICKLE).exists():
            weights = self.path / PICKLE
        return open_source(weights)

    @property
    def base(self) -> str:
        """An init string of the network that it was trained on.

        Raises:
          UserError: the configuration names none, or what it names is not here.
        """
        named, revision = self.fields.get('base_model_name_or_path'), self.fields.get('revision')
        beside = [self.path / 'base']  # where our own export puts it
        if named:
            beside = [pathlib.Path(named), self.path / named, *beside]
        for name in beside:
            folder = existing(str(name))
            if folder is None or not (folder / 'config.json').exists():
                continue
            return str(folder)
        if named and HUB_NAME.fullmatch(named):
            return f'hf://{named}' + (f'@{revision}' if revision else '')
        raise UserError(
            f'{self.path / CONFIG}: base_model_name_or_path is {shown(named)}, and no such folder '
            'is here; put the network that the adapter was trained on there, or in a folder base '
            'beside the adapter'
        )


def check_network(adapter: AdapterFolder, base: pathlib.Path) -> None:
    """UserError where the base of an adapter is an adapter again, or itself."""
    if base.resolve() == adapter.path.resolve() or adapter_folder(base) is not None:
        raise UserError(
            f'{adapter.path / CONFIG}: base_model_name_or_path is {shown(adapter.base)}, which is '
            'an adapter and no network'
        )


def adapter_folder(path: pathlib.Path) -> AdapterFolder | None:
    """The adapter in a folder, or of its weights file; None where the folder is of a network.

    Raises:
      UserError: a configuration that is none, or a kind of adapter that is not known here.
    """
    folder = path if path.is_dir() else path.parent
    file = folder / CONFIG
    if not file.exists() or (path != folder and path.name not in (WEIGHTS, PICKLE)):
        return None
    if path == folder and any(folder.glob('model*.safetensors')):
        return None  # a whole network, with an adapter beside it
    fields = read_object(file, LENIENT)
    if 'peft_type' not in fields:
        raise UserError(f'{file} names no peft_type; expected one of {", ".join(KNOWN)}')
    check_table(fields, KINDS, str(file))
    check_name(fields['peft_type'], KNOWN, f'{file}: peft_type')
    others = {name for name, value in WITHOUT.items() if (fields.get(name) or value) != value}
    if str(fields.get('init_lora_weights')).startswith(OF_THE_BASE):
        others.add('init_lora_weights')
    for name in sorted(others):
        raise UserError(
            f'{file}: {name} is {shown(fields[name])}, which is not merged here; in PEFT, '
            '`model.merge_and_unload().save_pretrained(FOLDER)` writes a network without it'
        )
    for pattern in fields.get('alpha_pattern') or {}:
        check_pattern(pattern, f'{file}: alpha_pattern')
    return AdapterFolder(folder, fields)


def check_pattern(pattern: str, where: str) -> None:
    """UserError for what is no regular expression, or one that may take for ever to match."""
    repeats = len(re.findall(r'(?<!\\)[*+{]', pattern))
    if len(pattern) > LONGEST_PATTERN or repeats > MOST_REPEATS or re.search(r'\)[*+{]', pattern):
        raise UserError(
            f'{where}: {shown(pattern)} repeats groups, or is too long; expected names of modules '
            f'with at most {MOST_REPEATS} of * and + in {LONGEST_PATTERN} letters'
        )
    try:
        re.compile(pattern)
    except re.error as error:
        raise UserError(f'{where}: {shown(pattern)} is no pattern of names ({error})') from None
