#!/usr/bin/env bash
# Write a software bill of materials (CycloneDX JSON) of all locked packages, with their hashes, to the file $2.
# $1 is the path of uv, which downloads the tool into a cache of its own.
set -euo pipefail
uv=$1
out=$2
work=$(mktemp)
trap 'rm -f "$work"' EXIT
{
  cat requirements.hashes
  grep '^torch==' requirements.lock
} >"$work"
mkdir -p "$(dirname "$out")"
"$uv" tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py requirements "$work" --pyproject pyproject.toml \
  --output-reproducible --output-format JSON --output-file "$out"
