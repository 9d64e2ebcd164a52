#!/usr/bin/env bash
# Reproduces published effects: one name, one config, one folder with table and verdicts.
#
#   bash scripts/reproduce.sh T4 [flags of scripts/ablate.py]
#
# Finished runs in runs/reproductions are not repeated, an interrupted call goes on where it
# was. Needs the environment of scripts/setup.sh; FTJAX_PYTHON picks another interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The names there are: those of the configs.
names() {
  for file in configs/reproductions/*.py; do
    basename "$file" .py | tr '[:lower:]' '[:upper:]'
  done | paste -sd ' ' -
}

name=$(tr '[:upper:]' '[:lower:]' <<<"${1:-}")
if [ -z "$name" ] || [[ "$name" == */* ]] || [ ! -f "configs/reproductions/$name.py" ]; then
  echo "error: no reproduction '${1:-}'; there are: $(names)" >&2
  exit 2
fi
shift

python=${FTJAX_PYTHON:-.venv/bin/python}
config=configs/reproductions/$name.py
workdir=runs/reproductions/$name
script=ablate
case "$name" in
  t0*) script=reproductions/theory ;;  # toy networks, no data and no checkpoint
  t2*)  # first the networks that arms copy layers of: one for each list of classes in the config
    grep -o "'[a-z]*+[a-z+]*'" "$config" | tr -d "'" | while read -r classes; do
      "$python" scripts/train.py --config="$config" --config.data.source="cifar10:$classes" \
        --workdir="runs/reproductions/bases/$classes" </dev/null
    done
    ;;
esac
"$python" "scripts/$script.py" --config="$config" --workdir="$workdir" "$@"

echo
echo "Done. Verdicts: $workdir/verdicts.json; table: $workdir/table.md; $workdir/report.html"
