#!/usr/bin/env bash
# Choose one version of each package that the extras in pyproject.toml need, and write the versions to requirements.lock.
# $1 is the path of uv. Versions that are already in the file do not change; delete a line to upgrade that package.
# CUDA packages are left out, because torch pins their versions and machines without a GPU do not install them.
set -euo pipefail
uv=$1
work=$(mktemp)
trap 'rm -f "$work"' EXIT
cp requirements.lock "$work"
extras=()
for extra in airflow cluster train ingest dense simulator demo dev; do extras+=(--extra "$extra"); done
"$uv" pip compile pyproject.toml "${extras[@]}" --python-version 3.11 --no-annotate --no-header -o "$work" >/dev/null
{
  echo "# Written by \`make lock\`. Used as a constraint: pip install -c requirements.lock '.[EXTRA]'"
  grep -vE '^(nvidia-|cuda-|triton==|#)' "$work"
} >requirements.lock
