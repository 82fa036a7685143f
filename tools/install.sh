#!/usr/bin/env bash
# Create the virtual environment $1. Install the project in it, with all packages that the demo, the tests and the
# benchmarks need, in the versions from requirements.lock. Uses uv if it can be installed, otherwise pip. uv also verifies
# the hashes in requirements.hashes; pip cannot do that for some of the packages only (torch has no hashes there).
# On a machine with an NVIDIA GPU, the extra `gpu` is also installed. The torch package on PyPI already supports CUDA.
set -euo pipefail
venv=$1
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "Python 3.11 or newer is needed, but $python is $("$python" --version); run PYTHON=/path/to/python3.11 make ..." >&2
  exit 2
}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv" || {
  echo "$python cannot create a virtual environment; install its venv module (Debian: apt-get install python3-venv)" >&2
  exit 2
}

extras=dev
if command -v nvidia-smi >/dev/null 2>&1; then extras=dev,gpu; fi

if "$venv/bin/python" -m pip install --quiet uv; then
  # Compiled once here. Otherwise, with PYTHONDONTWRITEBYTECODE, every process compiles torch and Airflow again: 20 s.
  "$venv/bin/uv" pip install --quiet --compile-bytecode --python "$venv/bin/python" --constraint requirements.hashes \
    --editable ".[$extras]"
else
  "$venv/bin/python" -m pip install --quiet --constraint requirements.lock --editable ".[$extras]"
fi
