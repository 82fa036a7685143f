#!/usr/bin/env bash
# The whole test suite for two cores, with coverage: the tests that share one embedded Airflow beside all the others.
# $1 is the environment's bin folder.
set -uo pipefail
bin=$1
export OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
work=$(mktemp -d)
airflow=
trap '[ -z "$airflow" ] || kill "$airflow" 2>/dev/null; rm -rf "$work"' EXIT

# Two data files: a session combines, at its end, whatever lies beside its own.
run_tests() { # name, then pytest's arguments
  COVERAGE_FILE="$work/$1/coverage" "$bin/python" -m pytest "${@:2}" --cov --cov-report= --durations=10
}
mkdir "$work/airflow" "$work/others"
run_tests airflow tests/airflow >"$work/airflow.log" 2>&1 &
airflow=$!
run_tests others -n 2 --ignore tests/airflow
others=$?
wait "$airflow"
with_airflow=$?
airflow=
cat "$work/airflow.log"

export COVERAGE_FILE="$work/coverage"
"$bin/python" -m coverage combine --quiet "$work"/*/coverage
"$bin/python" -m coverage report --skip-covered --sort=cover --fail-under=85
covered=$?
exit $((others || with_airflow || covered))
