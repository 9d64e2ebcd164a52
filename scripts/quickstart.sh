#!/usr/bin/env bash
# From a bare checkout to an ablation of freezing strategies: a few minutes on a CPU.
#
#   bash scripts/quickstart.sh [flags of scripts/ablate.py]
#
# Finished runs in runs/quickstart are not repeated, an interrupted call goes on where it was.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh

workdir=runs/quickstart
.venv/bin/python scripts/ablate.py --config=configs/quickstart.py --workdir="$workdir" "$@"

echo
echo 'Done. Look at'
for file in "$workdir"/report.html "$workdir"/table.md "$workdir"/*.png "$workdir"/figures/*.png; do
  if [ -e "$file" ]; then
    echo "  $file"
  fi
done
