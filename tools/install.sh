#!/usr/bin/env bash
# Make the virtual environment $1 with the exact versions of requirements.lock. uv where it can be had, else pip.
# On a machine with an NVIDIA card the CUDA extras come along; PyPI's torch is the CUDA build there.
set -euo pipefail
venv=$1
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  { echo "Python 3.11 or newer is needed; $python is $("$python" --version). Say PYTHON=/path/to/python3.11 make ..." >&2; exit 2; }
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"

files=(-r requirements.lock)
if command -v nvidia-smi >/dev/null 2>&1; then files+=(-r requirements-gpu.txt); fi

if "$venv/bin/python" -m pip install --quiet uv; then
  "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" "${files[@]}"
  "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --editable .
else
  "$venv/bin/python" -m pip install --quiet "${files[@]}"
  "$venv/bin/python" -m pip install --quiet --no-deps --editable .
fi
