#!/usr/bin/env bash
# Makes an environment with jax2onnx, for scripts/export.py --format=onnx.
#
#   bash scripts/to_onnx/make_environment.sh [FOLDER]     .venv-onnx if left out
#
# jax2onnx wants an older Orbax than ftjax is tested with, and its windows (Swin) an older JAX, so it
# gets an environment of its own.
# FTJAX_PYTHON=/path/to/python picks the interpreter (3.12 or later).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
folder="${1:-.venv-onnx}"

if [ ! -x "$folder/bin/python" ]; then
  "${FTJAX_PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 12))' || {
    echo 'error: Python 3.12 or later is needed; set FTJAX_PYTHON to its path' >&2
    exit 1
  }
  "${FTJAX_PYTHON:-python3}" -m venv "$folder"
fi
# What opening a network needs, and no more: no data sets, no training.
"$folder/bin/python" -m pip --disable-pip-version-check install --quiet \
  'jax2onnx>=0.17,<0.18' 'jax<0.12' 'onnxruntime>=1.22' \
  absl-py ml-collections pillow tokenizers scikit-learn scipy huggingface_hub safetensors \
  importlib_resources
"$folder/bin/python" -c 'import jax2onnx, onnxruntime'
echo "made $folder; scripts/export.py --format=onnx finds it there, or by FTJAX_ONNX_PYTHON"
