#!/usr/bin/env bash
# Choose one version of each package that the extras in pyproject.toml need, and write two files:
#   requirements.lock      the versions; pip and uv accept it as a constraint
#   requirements.hashes    the same with the hashes of all files of each version; tools/install.sh verifies them
# $1 is the path of uv. Versions that are already in requirements.lock do not change; delete a line to upgrade that
# package. CUDA packages are left out, because torch pins their versions and machines without a GPU do not install them.
# The hashes of torch are left out, because its CPU and CUDA builds are different files of one version.
set -euo pipefail
uv=$1
work=$(mktemp)
trap 'rm -f "$work"' EXIT
cp requirements.lock "$work"
extras=()
for extra in airflow cluster operations train ingest dense simulator demo gguf site dev; do extras+=(--extra "$extra"); done
"$uv" pip compile pyproject.toml "${extras[@]}" --python-version 3.11 --no-annotate --no-header --generate-hashes \
  -o "$work" >/dev/null
python3 tools/lock_files.py "$work"
