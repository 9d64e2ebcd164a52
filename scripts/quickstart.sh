#!/usr/bin/env bash
# From a bare checkout to an ablation of freezing strategies: a few minutes on a CPU.
#
#   bash scripts/quickstart.sh [flags of scripts/ablate.py]
#
# Finished runs in runs/quickstart are not repeated, an interrupted call goes on where it was.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh

# A run of this size does not fill two processors: one worker each, four at most.
engine=()
if [[ "$*" != *--engine* && "$*" != *--workers* ]]; then
  workers=$(.venv/bin/python -c 'import joblib; print(min(4, joblib.cpu_count()))')
  engine=(--engine=processes "--workers=$workers")
fi

workdir=runs/quickstart
.venv/bin/python scripts/ablate.py --config=configs/quickstart.py --workdir="$workdir" \
  ${engine[@]+"${engine[@]}"} "$@"

echo
echo 'Done. Look at'
for file in "$workdir"/report.html "$workdir"/table.md "$workdir"/*.png "$workdir"/figures/*.png; do
  if [ -e "$file" ]; then
    echo "  $file"
  fi
done
