#!/usr/bin/env bash
# The whole stack in one command: sets up, starts everything, asks one question, stops everything.
#   ./run_integration.sh            smoke test; exit status 0 when the answer came
#   ./run_integration.sh --serve    keeps it up until Ctrl-C
# Without a card it runs on the simulator and says so; AX650_MODEL_PATH points it at a model.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
called_from=$PWD
cd "$here"
. deploy/venv.sh
prepare_venv requirements.txt
cd "$called_from"  # relative paths in AX650_… settings are meant from here
PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" exec "$here/.venv/bin/python" -m axproxy.cli.smoke_test "$@"
