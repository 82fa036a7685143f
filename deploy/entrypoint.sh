#!/bin/sh
# Run a command. For each variable NAME_FILE in SECRET_VARIABLES, set NAME to the contents of that file first, so that
# the secret appears neither in the container's definition nor in `docker inspect`. An empty file sets nothing.
set -eu
for name in ${SECRET_VARIABLES:-}; do
  eval "file=\${${name}_FILE:-}"
  [ -n "$file" ] || continue
  [ -r "$file" ] || {
    echo "$file (${name}_FILE) cannot be read by user $(id -u); create it with tools/make_env.py" >&2
    exit 2
  }
  value=$(cat "$file")
  [ -z "$value" ] || export "$name=$value"
done
exec "$@"
