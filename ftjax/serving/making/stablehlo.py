"""The program of a run as StableHLO: text for people, portable bytecode for other compilers."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jax

from ftjax.export.finished_run import finished_files
from ftjax.io.files.atomic import write_json
from ftjax.io.files.whole_folder import whole_folder
from ftjax.pretrained.own_files import WEIGHTS
from ftjax.runs.prediction.trained import open_trained
from ftjax.serving.making.write_bundle import copy_model, programs_of, reference_data, taken_of
from ftjax.serving.making.writing_inputs import NEW_TOKENS

SIGNATURE = 'arguments.json'


def write_stablehlo(
    workdir: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    parts: Sequence[str] = (),
    allow_code_change: bool = False,
    new_tokens: int = NEW_TOKENS,
) -> pathlib.Path:
    """Writes program.mlir, program.mlirbc and arguments.json beside the weights; the folder.

    The functions take the weights in the order of their names, then the inputs, and give
    `features` and `outputs`. They are lowered for CPUs, with the batch as a dynamic dimension; of
    texts there is a pair of files a length.

    Raises:
      UserError: no finished run there, or a network that cannot be exported.
    """
    output, workdir = pathlib.Path(output), pathlib.Path(workdir)
    config, _, _ = finished_files(workdir)
    trained = open_trained(os.fspath(workdir), parts, allow_code_change=allow_code_change)
    trained.check_head()
    _, data = reference_data(trained, workdir, config)
    inputs, lengths, details = taken_of(trained, data, new_tokens)
    programs = programs_of(trained, inputs, lengths or (0,), details, ['cpu'])
    with whole_folder(output) as folder:
        copy_model(trained.model, folder)
        for bucket, exported in programs.items():
            name = f'program_{bucket}' if bucket else 'program'
            (folder / f'{name}.mlir').write_text(exported.mlir_module(), encoding='utf-8')
            (folder / f'{name}.mlirbc').write_bytes(exported.mlir_module_serialized)
            write_json(folder / f'{name}.{SIGNATURE}', arguments(exported))
    return output


def arguments(exported: Any) -> dict[str, Any]:
    """Names, dtypes and shapes of a program's arguments and results, in their order."""
    taken, _ = jax.tree.unflatten(exported.in_tree, exported.in_avals)
    rows = [('weights', *item) for item in sorted(taken[0].items())]
    rows += [('inputs', *item) for item in sorted(taken[1].items())]
    rows = [rows[index] for index in exported.module_kept_var_idx]  # no weight that nothing uses
    results = jax.tree.unflatten(exported.out_tree, exported.out_avals)
    return {
        'weights': WEIGHTS,
        'arguments': [
            {'from': origin, 'name': name, 'dtype': aval.dtype.name, 'shape': _shape(aval)}
            for origin, name, aval in rows
        ],
        'results': [
            {'name': name, 'dtype': aval.dtype.name, 'shape': _shape(aval)}
            for name, aval in sorted(results.items())
        ],
        'stablehlo': 'portable bytecode (VHLO) in .mlirbc; text of this JAX in .mlir',
        'calling_convention_version': exported.calling_convention_version,
    }


def _shape(aval: Any) -> list[int | str]:
    return [side if isinstance(side, int) else str(side) for side in aval.shape]
