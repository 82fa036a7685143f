#!/usr/bin/env bash
# Write the packages of each image, with the hashes of all their files, to $2/airflow.txt, $2/gpu.txt and
# $2/build.txt. $1 is the path of uv, $2 a folder (default: deploy). The versions are those of requirements.lock. The
# Dockerfile installs these files with --require-hashes, so that a build fails if a package on the index differs from
# the tested one. Run this script after `make lock`.
set -euo pipefail
uv=$1
out=${2:-deploy}
compile() { # NAME [UV-ARGUMENT...]: write $out/NAME.txt
  local name=$1
  shift
  {
    echo "# Written by tools/image_requirements.sh. The Dockerfile installs these packages."
    env -u UV_FIND_LINKS "$uv" pip compile --quiet --no-annotate --no-header --generate-hashes \
      --constraint requirements.lock --python-version 3.11 --python-platform x86_64-manylinux_2_28 "$@"
  } >"$out/$name.txt"
}
# Airflow and the project, without torch.
compile airflow pyproject.toml --extra airflow --extra cluster --extra ingest --extra operations
# Training and evaluation with CUDA, without Airflow.
compile gpu pyproject.toml --extra train --extra gpu
# What builds the images.
compile build - <<<"uv==$("$uv" --version | cut -d ' ' -f 2)
setuptools"
