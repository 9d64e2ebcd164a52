"""A run's network as ONNX: a bundle, converted in an environment of its own."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence

from ftjax.errors import UserError
from ftjax.io.files.whole_folder import whole_folder
from ftjax.runs.prediction.trained import open_trained
from ftjax.serving.bundle import goldens, signature
from ftjax.serving.making.write_bundle import served_form, write_bundle

VARIABLE = 'FTJAX_ONNX_PYTHON'
MAKE = 'bash scripts/to_onnx/make_environment.sh'
ALONG = ('config.json', 'tokenizer.json', signature.FILE, goldens.FILE, goldens.RAW, 'README.md')


def write_onnx(
    workdir: str | os.PathLike[str],
    output: str | os.PathLike[str],
    converter: pathlib.Path,
    *,
    parts: Sequence[str] = (),
    allow_code_change: bool = False,
    command: str = '',
) -> pathlib.Path:
    """Writes model.onnx (of texts one a length) with signature and goldens; returns the folder.

    Args:
      workdir: of a finished run.
      output: what is made; must not exist, or be empty. On any failure nothing is there.
      converter: scripts/to_onnx/convert_bundle.py.
      parts: files with parts of the user's own; the converter does not know them.
      allow_code_change: whether own code that answers may be another than that of the run.
      command: what was typed, for the card.

    Raises:
      UserError: no environment with jax2onnx, an operation that it does not know, or outputs
        that differ by more than 1e-5.
    """
    trained = open_trained(os.fspath(workdir), parts, allow_code_change=allow_code_change)
    if served_form(trained).writes:
        raise UserError(
            f'{workdir}: a language model writes in a loop whose cache and random numbers '
            'jax2onnx does not convert; --format=bundle and --format=stablehlo do'
        )
    python = find_python(converter)
    output = pathlib.Path(output)
    with whole_folder(output) as folder, tempfile.TemporaryDirectory() as beside:
        bundle = write_bundle(
            *(workdir, pathlib.Path(beside) / 'bundle'),
            parts=parts,
            allow_code_change=allow_code_change,
            command=command,
        )
        for name in ALONG:
            if (bundle / name).exists():
                shutil.copyfile(bundle / name, folder / name)
        root = pathlib.Path(converter).resolve().parents[2]
        done = subprocess.run(
            [str(python), str(converter), f'--bundle={bundle}', f'--output={folder}'],
            capture_output=True,
            text=True,
            env={**os.environ, 'PYTHONPATH': str(root), 'JAX_PLATFORMS': 'cpu'},
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ['it said nothing'])[-1]
            raise UserError(f'jax2onnx could not convert the network: {last[:500]}')
        print(done.stdout, end='')
    return output


def find_python(converter: pathlib.Path) -> pathlib.Path:
    """The interpreter of the environment with jax2onnx; UserError where there is none."""
    beside = pathlib.Path(converter).resolve().parents[2] / '.venv-onnx' / 'bin' / 'python'
    python = pathlib.Path(os.environ.get(VARIABLE) or beside)
    if not python.exists():
        raise UserError(f'{python} is not there: {MAKE} makes an environment with jax2onnx')
    return python
