#!/usr/bin/env bash
# Print the path of a Chromium for the browser tests and `make pictures`. $1 is the virtual environment's bin folder.
# Looks for $CHROMIUM and for an installed browser. If there is none, installs one: with apt if the user is root on
# Debian, otherwise with playwright. Prints nothing if no browser can be installed.
set -uo pipefail
bin=$1

find_browser() {
  local name
  for name in ${CHROMIUM:+"$CHROMIUM"} chromium chromium-browser google-chrome; do
    command -v "$name" && return
  done
  "$bin/python" - <<'PY'
from pathlib import Path
from playwright.sync_api import sync_playwright

with sync_playwright() as playwright:
    path = playwright.chromium.executable_path
print(path) if Path(path).exists() else exit(1)
PY
}

find_browser 2>/dev/null && exit
echo "no Chromium found; installing Debian's packages chromium and fonts-nanum ..." >&2
bash "$(dirname "$0")/debian.sh" chromium fonts-nanum && find_browser 2>/dev/null && exit
echo "no Chromium found; downloading playwright's ..." >&2
timeout 300 "$bin/python" -m playwright install chromium >/dev/null 2>&1
find_browser 2>/dev/null || true
