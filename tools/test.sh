#!/usr/bin/env bash
# The whole test suite on two processes with coverage (the tests that share an Airflow go to one of them); $1 is the environment's bin folder, the rest goes to pytest.
set -euo pipefail
bin=$1; shift
export OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
rm -f .coverage .coverage.*
"$bin/python" -m pytest -n "${TEST_PROCESSES:-2}" --dist loadgroup --cov --cov-report= "$@"
"$bin/python" -m coverage combine --quiet 2>/dev/null || true
"$bin/python" -m coverage report --skip-covered --sort=cover --fail-under=85
