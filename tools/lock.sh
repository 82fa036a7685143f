#!/usr/bin/env bash
# Write requirements.lock: one version of everything that any extra of pyproject.toml needs, resolved together.
# Versions that are in the file already are kept; delete a line to let that package move.
# CUDA's own packages are left out: torch pins them exactly, and machines without a GPU do not install them.
set -euo pipefail
uv=$1
work=$(mktemp)
trap 'rm -f "$work"' EXIT
cp requirements.lock "$work"
extras=()
for extra in airflow cluster train simulator demo dev; do extras+=(--extra "$extra"); done
"$uv" pip compile pyproject.toml "${extras[@]}" --python-version 3.11 --no-annotate --no-header -o "$work" >/dev/null
{
  echo "# Written by \`make lock\`. Used as a constraint: pip install -c requirements.lock '.[EXTRA]'"
  grep -vE '^(nvidia-|cuda-|triton==|#)' "$work"
} >requirements.lock
