#!/usr/bin/env bash
# The whole test suite for two cores, with coverage: the tests that share one embedded Airflow beside all the others.
# $1 is the environment's bin folder.
set -euo pipefail
bin=$1
export OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
rm -f .coverage .coverage.*
log=$(mktemp)
failed=0

"$bin/python" -m pytest tests/airflow --cov --cov-report= >"$log" 2>&1 &
airflow=$!
trap 'kill "$airflow" 2>/dev/null; rm -f "$log"' EXIT
"$bin/python" -m pytest -n 2 --ignore tests/airflow --cov --cov-report= || failed=1
wait "$airflow" || failed=1
cat "$log"
"$bin/python" -m coverage combine --quiet 2>/dev/null || true
"$bin/python" -m coverage report --skip-covered --sort=cover --fail-under=85 || failed=1
exit "$failed"
