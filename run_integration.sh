#!/usr/bin/env bash
# Runs the whole stack: sets it up, starts everything, asks one question, stops everything.
#   ./run_integration.sh            smoke test; exit status 0 when the answer came
#   ./run_integration.sh --serve    keeps it up until Ctrl-C
# Without a card it runs on the simulator and prints so; AX650_MODEL_PATH is the folder of a model.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
called_from=$PWD
cd "$here"
. deploy/venv.sh
prepare_venv requirements.txt
cd "$called_from"  # where relative paths in AX650_… settings begin
PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" exec "$here/.venv/bin/python" -m axproxy.cli.smoke_test "$@"
