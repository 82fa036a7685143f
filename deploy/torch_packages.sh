#!/bin/sh
# Install the packages of deploy/gpu.txt into the environment $1. If $2 names an index with another build of torch (for
# example PyTorch's CPU builds), take torch from there and leave out the CUDA packages.
set -eu
environment=$1
index=$2
if [ -z "$index" ]; then
  exec uv pip install --python "$environment" --require-hashes --no-deps -r deploy/gpu.txt
fi
# An entry is one line with the version, followed by indented lines with hashes.
awk '/^[^ #]/ { skip = ($0 ~ /^(torch|triton|liger-kernel|cuda-|nvidia-)/) } !skip' deploy/gpu.txt >/tmp/packages.txt
torch=$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' deploy/gpu.txt)
uv pip install --python "$environment" --require-hashes --no-deps -r /tmp/packages.txt
uv pip install --python "$environment" --no-deps --index-url "$index" "$torch"
