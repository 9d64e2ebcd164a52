#!/usr/bin/env bash
# Measures ftjax on the GPU of this machine beside PyTorch; at most 9 minutes.
#
#   bash scripts/device_suite.sh OUT [--tiny] [--limit=SECONDS] [--sections=smoke,vision_steps]
#
# The last section, compiler_flags, times the ViT's step under flags of XLA's GPU compiler. A whole
# run may end before it: --sections=compiler_flags runs it alone.
#
# OUT gets a JSON file a section, as soon as a row is known, and gpu.md. The machine needs Python
# with jax, flax and orbax, for the other side torch, transformers, timm, peft; wheels (*.whl) of
# what it lacks (optax, ml-collections, grain ..) may lie in the folder .whl or in $FTJAX_WHEELS.
# FTJAX_PYTHON is the interpreter, python3 if it is not set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ $# -lt 1 ] || [[ "$1" == --* ]]; then
  echo 'error: expected the folder that results go to: bash scripts/device_suite.sh OUT' >&2
  exit 2
fi
out="$1"
shift
python="${FTJAX_PYTHON:-python3}"
wheels="${FTJAX_WHEELS:-.whl}"
if compgen -G "$wheels/*.whl" >/dev/null; then
  site="$(mktemp -d)"
  trap 'rm -rf "$site"' EXIT
  "$python" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --target "$site" \
    "$wheels"/*.whl
  export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
fi
export PYTHONPATH="$PWD:$PWD/scripts${PYTHONPATH:+:$PYTHONPATH}"
"$python" scripts/device_suite.py --out="$out" "$@"
