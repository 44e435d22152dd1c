#!/usr/bin/env bash
# Everything that must hold: lint, types, tests. Further arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. deploy/venv.sh
prepare_venv requirements-dev.txt

python=.venv/bin/python
$python -m ruff check .
$python -m ruff format --check .
$python -m mypy
if [ $# -gt 0 ]; then
    exec $python -m pytest "$@"
fi
# Most tests wait for processes, so more of them than cores can run side by side.  What fails in that
# crowd gets one more try by itself, said aloud; what is wrong fails again.
if ! $python -m pytest --numprocesses 4 --dist worksteal --cov --cov-fail-under=90; then
    echo "something failed; trying that once more, alone" >&2
    exec $python -m pytest --last-failed --last-failed-no-failures none
fi
