#!/usr/bin/env bash
# Makes .venv and installs ftjax into it, in the versions that the tests passed with.
#
#   bash scripts/setup.sh             what running, testing, logging and serving need
#   bash scripts/setup.sh --parity    torch and transformers as well, for the parity tests, and what
#                                     executes the tutorials
#
# A second call with nothing changed does nothing and needs no network.
# FTJAX_PYTHON=/path/to/python picks the interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
  echo "error: $*" >&2
  exit 1
}

extras='test,logging,serve'
for argument in "$@"; do
  case "$argument" in
    --parity) extras='test,logging,serve,parity,tutorials' ;;
    *) fail "unknown argument $argument; expected nothing or --parity" ;;
  esac
done

# Prints the version (3.12, say) if the interpreter runs, is new enough and can make an
# environment. Running it is the only sure test: a pyenv shim exists for versions that are not
# switched on.
usable() {
  "$1" - "$2" 2>/dev/null <<'PYTHON'
import sys

import ensurepip
import venv

if not (3, 11) <= sys.version_info[:2] < (3, int(sys.argv[1])):
    sys.exit(1)
print('%d.%d' % sys.version_info[:2])
PYTHON
}

find_python() {
  if [ -n "${FTJAX_PYTHON:-}" ]; then
    usable "$FTJAX_PYTHON" 99 >/dev/null ||
      fail "FTJAX_PYTHON=$FTJAX_PYTHON cannot be used: needs Python >= 3.11 with venv and ensurepip"
    python="$FTJAX_PYTHON"
    return
  fi
  # The newest first: its jax takes up to 1.7 times fewer seconds a step on some processors.
  local candidate
  for candidate in python3.13 python3.12 python3.11 python3 python; do
    if usable "$candidate" 14 >/dev/null; then
      python="$candidate"
      return
    fi
  done
  for candidate in python3 python3.13 python3.12 python3.11; do
    if version="$("$candidate" -c 'import sys; assert (3, 11) <= sys.version_info[:2] < (3, 14)
print("%d.%d" % sys.version_info[:2])' 2>/dev/null)"; then
      fail "$candidate lacks the venv module; on Debian and Ubuntu: sudo apt install python$version-venv"
    fi
  done
  fail 'no Python 3.11, 3.12 or 3.13 found; install one, or set FTJAX_PYTHON to its path'
}

# An environment that does not run (moved, or its Python was removed) is made anew.
if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  find_python
  if [ -e .venv ] && [ ! -e .venv/pyvenv.cfg ]; then
    fail '.venv is in the way: it is no Python environment'
  fi
  version="$("$python" --version)"
  echo "Making .venv with $version .."
  case $version in
    *" 3.11."*) echo 'Python 3.11 gets the older line of jax (0.10); 3.12 or 3.13 the newer, faster one.' ;;
  esac
  "$python" -m venv --clear .venv
fi

version="$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
case "$version" in
  3.11) constraints=constraints/py311.txt ;;
  *) constraints=constraints/py312.txt ;;
esac

stamp=".venv/installed-$extras"
wanted="$(.venv/bin/python - "$constraints" <<'PYTHON'
import hashlib
import os
import pathlib
import sys

parts = [os.getcwd(), sys.version, pathlib.Path('pyproject.toml').read_text()]
print(hashlib.sha256('\n'.join([*parts, pathlib.Path(sys.argv[1]).read_text()]).encode()).hexdigest())
PYTHON
)"
if [ "$(cat "$stamp" 2>/dev/null || true)" = "$wanted" ]; then
  exit 0
fi

echo "Installing ftjax[$extras] for Python $version into .venv; the first time this takes minutes .."
pip=(.venv/bin/python -m pip --disable-pip-version-check install --quiet)
if [[ "$extras" == *parity* ]]; then
  # On its own and without constraints, so that the platform's own build is taken.
  "${pip[@]}" torch==2.13.0
fi
"${pip[@]}" --constraint "$constraints" --editable ".[$extras]" ||
  fail 'the installation failed (see above); with the network back, run the same command again'
echo "$wanted" >"$stamp"
# What was installed with torch has all that the plain installation has.
echo "$wanted" >'.venv/installed-test,logging,serve'
