"""The programs of a bundle: jax.export artifacts, checked before they are compiled.

A program takes (weights, inputs), two dicts of arrays, and gives `outputs` and `features`. Its
batch is symbolic, and it runs on CPU, CUDA and TPU. What it may do is arithmetic: a call of code
outside XLA is refused, when it is made and when it is read.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ftjax.errors import UserError
from ftjax.io.files.regular_files import read_bytes
from ftjax.serving.bundle.signature import Signature

PLATFORMS = ('cpu', 'cuda', 'tpu')
LARGEST = 2**28
"""Bytes of a program: weights are not in it."""
CALLS = frozenset({'shape_assertion'})
"""Custom calls that a program may hold: this one is gone once the batch is known."""
REMEDY = 'scripts/export.py --refresh --bundle=OLD --output=NEW makes it anew from the weights'
_CALL = re.compile(r'custom_call\s*@"?([^\s"(]+)|call_target_name\s*=\s*"([^"]*)"')


def file_of(bucket: int) -> str:
    """`program_16.jaxexport` for texts of up to 16 tokens; `program.jaxexport` for one shape."""
    return f'program_{bucket}.jaxexport' if bucket else 'program.jaxexport'


def jax_export() -> Any:
    """jax.export; UserError without the package that it writes its files with."""
    try:
        import flatbuffers  # noqa: F401
    except ImportError:
        raise UserError(
            'jax.export needs the package flatbuffers: pip install flatbuffers'
        ) from None
    import jax.export

    return jax.export


def outside_calls(exported: Any) -> list[str]:
    """Names of the calls in a program that are none of XLA's own operations."""
    found = {a or b for a, b in _CALL.findall(exported.mlir_module())}
    return sorted(found - CALLS)


def read_program(path: pathlib.Path, made_with: Mapping[str, str] | None = None) -> Any:
    """A `jax.export.Exported`.

    Args:
      path: of the file.
      made_with: versions that made it, for messages.

    Raises:
      UserError: this JAX cannot read it; it is of other platforms; it calls code outside XLA.
    """
    export = jax_export()
    try:
        exported = export.deserialize(bytearray(read_bytes(path, LARGEST)))
        calls = outside_calls(exported)
    except OSError as error:
        raise UserError(f'{path} cannot be read: {error.strerror or error}') from error
    except Exception as error:  # flatbuffers and MLIR raise many types on broken bytes
        made = (made_with or {}).get('jax', 'another version')
        reason = ' '.join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f'{path} was made by jax {made}, and jax {jax.__version__} cannot read it '
            f'({reason}); {REMEDY}'
        ) from error
    if calls:
        raise UserError(f'{path} calls code outside XLA ({calls[0]}); it is not run')
    if platform() not in exported.platforms:
        raise UserError(
            f'{path} runs on {", ".join(exported.platforms)}, and this process on {platform()}'
        )
    return exported


def platform() -> str:
    """What jax.export calls the present backend: cpu, cuda, rocm or tpu."""
    name = jax.default_backend()
    if name != 'gpu':
        return name
    return 'rocm' if 'rocm' in jax.devices()[0].client.platform_version else 'cuda'


def check_arguments(
    exported: Any, weights: Mapping[str, np.ndarray], signature: Signature, bucket: int, where: str
) -> None:
    """UserError unless a program takes these weights and the inputs of the signature."""
    inputs = {
        name: jax.ShapeDtypeStruct((1, *array.of_length(bucket)), array.dtype)
        for name, array in signature.inputs.items()
    }
    args, structure = jax.tree.flatten(((dict(weights), inputs), {}))
    if structure != exported.in_tree:
        raise UserError(f'{where} takes other arrays than weights and {", ".join(inputs)}')
    paths = [jax.tree_util.keystr(p) for p, _ in jax.tree_util.tree_leaves_with_path(args)]
    for path, given, taken in zip(paths, args, exported.in_avals, strict=True):
        # The batch, the first axis of an input, is a symbol.
        same = len(given.shape) == len(taken.shape) and all(
            not isinstance(b, int) or a == b for a, b in zip(given.shape, taken.shape, strict=True)
        )
        if not same or np.dtype(given.dtype) != taken.dtype:
            raise UserError(
                f'{where} takes {taken.dtype} {taken.shape} as argument {path}, and is given '
                f'{given.dtype} {given.shape}'
            )
