#!/usr/bin/env bash
# Install Debian packages, if the user is root on Debian: debian.sh PACKAGE... Prints nothing, and fails if it cannot.
set -uo pipefail
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 1
{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"; } >/dev/null 2>&1
