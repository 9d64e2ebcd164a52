"""Writes down what transformers knows of config.json: ftjax/pretrained/config_fields.json.

    python scripts/parity/make_config_fields.py

Needs the parity extra (torch, transformers). For each model type that a family here reads, the
file holds every field of its configuration class with its default, the other names that the
class takes for a field, and the fields that its modelling code reads, those of the shared code
(masks, rotary positions, ..) apart. ftjax reads the file in place of transformers. Run it again
with a new version of transformers, then `python scripts/parity/config_fields_table.py`.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
import pathlib
from typing import Any

from ftjax.cli import launch
from ftjax.pretrained import config_fields, families

# Code outside the models' own files that reads their configuration in a forward pass.
SHARED = (
    'transformers.masking_utils',
    'transformers.modeling_rope_utils',
    'transformers.modeling_layers',
    'transformers.backbone_utils',
    'transformers.utils.generic',
    'transformers.integrations.sdpa_attention',
)


def main() -> None:
    found = classes()
    config_fields.FILE.write_text(json.dumps(found, indent=1, sort_keys=True) + '\n')
    print(f'wrote {config_fields.FILE}: {len(found["classes"])} model types')


def classes() -> dict[str, Any]:
    """All that the file holds, from the transformers that is installed."""
    import transformers
    from transformers import GenerationConfig, PreTrainedConfig

    base = _defaults(PreTrainedConfig)
    return {
        'transformers': transformers.__version__,
        'base': base,
        'generation': sorted(GenerationConfig._get_default_generation_params()),
        'shared': sorted(set().union(*(_fields_read(name) for name in SHARED))),
        'classes': {name: _of_class(name, base) for name in _model_types()},
    }


def _model_types() -> list[str]:
    in_transformers = (
        row
        for name, row in families.rows().items()
        if getattr(families.module(name), 'IN_TRANSFORMERS', True)
    )
    return [model_type for row in in_transformers for model_type in row.model_types]


def _of_class(model_type: str, base: dict[str, Any]) -> dict[str, Any]:
    """The class of a model type: its fields beyond the base class's, aliases, fields read."""
    from transformers import AutoConfig

    kind = type(AutoConfig.for_model(model_type))
    defaults = _defaults(kind)
    package = kind.__module__.rpartition('.')[0]
    modelling = f'{package}.modeling_{package.rpartition(".")[2]}'
    return {
        'class': kind.__name__,
        'defaults': {k: v for k, v in defaults.items() if k not in base or base[k] != v},
        'aliases': dict(kind.attribute_map),
        'code': sorted(_fields_read(modelling)),
    }


def _defaults(kind: type) -> dict[str, Any]:
    """Field -> default of a configuration class, as JSON has them."""
    found = {}
    for field in dataclasses.fields(kind):
        make: Any = field.default_factory
        found[field.name] = field.default if make is dataclasses.MISSING else make()
    return json.loads(json.dumps(found))


def _fields_read(module: str) -> set[str]:
    """Names of attributes of anything called `.. config` in a module's source."""
    path = inspect.getsourcefile(importlib.import_module(module))
    assert path is not None
    found = set()
    for node in ast.walk(ast.parse(pathlib.Path(path).read_text())):
        if isinstance(node, ast.Attribute) and _is_config(node.value):
            found.add(node.attr)
        elif isinstance(node, ast.Call) and len(node.args) >= 2 and _is_config(node.args[0]):
            name = node.args[1]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                found.add(name.value)
    return {name for name in found if not name.startswith('_')}


def _is_config(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, 'id', '')
    return name == 'config' or name.endswith('_config')


if __name__ == '__main__':
    launch.run(main)
