#!/usr/bin/env bash
# Checks everything that must hold before a commit: lint, types, tests, coverage.
#   ./run_tests.sh                  everything
#   ./run_tests.sh tests/api -k show  the arguments go to pytest: only these tests, no lint, no types
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. deploy/venv.sh
prepare_venv requirements-dev.txt

python=.venv/bin/python
if [ $# -gt 0 ]; then
    exec $python -m pytest "$@"
fi
$python -m ruff check .
$python -m ruff format --check .
$python -m mypy

# Most tests wait for processes, so more tests than there are cores can run side by side.  Status 1 means that
# tests failed; up to two of those that start processes get a second try, alone.
status=0
$python -m pytest --numprocesses 4 --dist worksteal --cov --cov-report= || status=$?
if [ $status = 1 ]; then
    status=0
    $python -m tests.support.second_try || status=$?
fi
[ $status = 0 ] || exit $status
exec $python -m coverage report --fail-under=90
