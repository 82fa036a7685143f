#!/usr/bin/env bash
# Run the test suite on two cores: test.sh BIN [all|distributed]. BIN is the virtual environment's bin folder. `all`
# includes the tests marked `long` and measures the coverage. `distributed` runs only the tests in tests/distributed,
# which need both cores and Debian's Postgres and Redis, and skips them if the servers cannot be installed. The tests in
# tests/airflow share one embedded Airflow and run in parallel with all other tests. With REQUIRE_BROWSER=1, the browser
# tests fail if there is no browser.
set -uo pipefail
bin=$1
if [ "${2:-}" = distributed ]; then
  compgen -G "/usr/lib/postgresql/*/bin/postgres" >/dev/null && command -v redis-server >/dev/null ||
    bash tools/debian.sh postgresql redis-server
  unset PYTHONDONTWRITEBYTECODE  # the tests start many processes
  OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false exec "$bin/python" -m pytest tests/distributed -rs --durations=5
fi
CHROMIUM=$(bash tools/browser.sh "$bin")
# Tests set the clock of a process with libfaketime.
compgen -G "/usr/lib/*/faketime/libfaketime.so.1" >/dev/null || bash tools/debian.sh faketime
unset PYTHONDONTWRITEBYTECODE  # the tests start hundreds of processes
export CHROMIUM OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
work=$(mktemp -d)
airflow=
trap '[ -z "$airflow" ] || kill "$airflow" 2>/dev/null; rm -rf "$work"' EXIT

if [ "${2:-}" = all ]; then
  options=(--cov --cov-report=)
else
  options=(-m "not long")
fi

# When pytest ends, it combines all coverage files in a folder. Each group therefore has a separate folder.
run_tests() { # $1 is the name of the group; the other arguments are for pytest
  COVERAGE_FILE="$work/$1/coverage" "$bin/python" -m pytest "${@:2}" "${options[@]}" --durations=10
}
mkdir "$work/airflow" "$work/others"
run_tests airflow tests/airflow >"$work/airflow.log" 2>&1 &
airflow=$!
run_tests others -n 2 --dist loadfile --no-loadscope-reorder --ignore tests/airflow --ignore tests/distributed
others=$?
wait "$airflow"
with_airflow=$?
airflow=
cat "$work/airflow.log"

covered=0
if [ "${2:-}" = all ]; then
  export COVERAGE_FILE="$work/coverage"
  "$bin/python" -m coverage combine --quiet "$work"/*/coverage
  "$bin/python" -m coverage report --skip-covered --sort=cover --fail-under=85
  covered=$?
fi
exit $((others || with_airflow || covered))
