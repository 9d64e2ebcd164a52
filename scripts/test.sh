#!/usr/bin/env bash
# Everything that must hold before a change goes in, from a bare checkout.
#
#   bash scripts/test.sh [pytest arguments]         lint, types and the quick tests
#   bash scripts/test.sh --all [pytest arguments]   also the slow tests and, against torch and
#                                                   transformers, the parity tests
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

marks=(-m 'not slow')
setup=()
if [ "${1:-}" = --all ]; then
  shift
  marks=()
  setup=(--parity)
  export JAX_DISABLE_MOST_OPTIMIZATIONS="${JAX_DISABLE_MOST_OPTIMIZATIONS:-0}"
fi
bash scripts/setup.sh ${setup[@]+"${setup[@]}"}
export JAX_PLATFORMS="${JAX_PLATFORMS:-cpu}"

# All are run, so that one call shows all that is wrong.
failed=()
step() {
  echo "== $*"
  "$@" || failed+=("$1 ${2:-}")
}
step .venv/bin/ruff check
step .venv/bin/ruff format --check
step .venv/bin/pyrefly check
# A process for each core, up to four; the tests of one file share a process, and its programs.
processes=$(.venv/bin/python -c 'import os; print(min(os.cpu_count() or 1, 4))')
step .venv/bin/python -m pytest -q -n "$processes" --dist loadfile \
  --no-loadscope-reorder --durations=10 ${marks[@]+"${marks[@]}"} "$@"

if [ ${#failed[@]} -gt 0 ]; then
  echo "FAILED: $(printf '%s; ' "${failed[@]}")" >&2
  exit 1
fi
echo 'All passed.'
