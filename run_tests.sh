#!/usr/bin/env bash
# Checks everything that must hold before a commit: lint, types, tests.
#   ./run_tests.sh                  everything
#   ./run_tests.sh --cov            and that the tests cover 90 % of the package, which takes half as long again
#   ./run_tests.sh tests/api -k show  the arguments go to pytest: only these tests, no lint, no types
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. deploy/venv.sh
prepare_venv requirements-dev.txt

python=.venv/bin/python
# The tests start hundreds of programs, and each would compile all of its modules anew.
unset PYTHONDONTWRITEBYTECODE
coverage=()
if [ "$*" = --cov ]; then
    coverage=(--cov --cov-report=)
elif [ $# -gt 0 ]; then
    exec $python -m pytest "$@"
fi
$python -m ruff check .
$python -m ruff format --check .
$python -m mypy

# Most tests wait for processes, so more tests than there are cores can run side by side.  Status 1 means that
# tests failed; up to two of those that start processes get a second try, alone.
status=0
$python -m pytest --numprocesses 6 --dist worksteal "${coverage[@]}" || status=$?
if [ $status = 1 ]; then
    status=0
    $python -m tests.support.second_try || status=$?
fi
[ $status = 0 ] || exit $status
[ ${#coverage[@]} = 0 ] || exec $python -m coverage report --fail-under=90
