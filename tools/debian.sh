#!/usr/bin/env bash
# Install Debian packages, if the user is root on Debian: debian.sh PACKAGE... Prints nothing, and fails if it cannot.
# The installation starts no services: Postgres and Redis would otherwise run as soon as they are installed.
set -uo pipefail
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 1
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
fi
{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"; } >/dev/null 2>&1
