#!/usr/bin/env bash
# Becomes the tokenizer process: exec keeps the pid.  Works from any directory; further arguments are
# passed on.
#
#   AX650_TOKENIZER       builtin (default): our own; vendor: the script that came with the model
#   AX650_TOKENIZER_PORT  port on the loopback, 12345 unless set
#   AX650_MODEL_PATH      the model's folder; its own tokenizer is used then
set -euo pipefail

refuse() {
    echo "start_tokenizer.sh: $*" >&2
    exit 2
}

root=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
port=${AX650_TOKENIZER_PORT:-12345}
model=${AX650_MODEL_PATH:-}

python=python3
if [[ -x $root/.venv/bin/python ]]; then
    python=$root/.venv/bin/python
fi
"$python" "$root/axproxy/cli/own_python.py" start_tokenizer.sh

case ${AX650_TOKENIZER:-builtin} in
builtin)
    # PYTHONPATH instead of cd, so that relative paths among the arguments keep their meaning.
    export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
    arguments=(--port "$port")
    if [[ -n $model ]]; then
        arguments+=(--model-path "$model")
    fi
    exec "$python" -m axproxy.tokenizer "${arguments[@]}" "$@"
    ;;
vendor)
    [[ -n $model ]] || refuse "AX650_TOKENIZER=vendor needs AX650_MODEL_PATH, the model's folder"
    for folder in "$model" "$model/.."; do
        if [[ -f $folder/qwen3_tokenizer_uid.py ]]; then
            # The script looks for its vocabularies in the working directory.
            cd -- "$folder"
            # It prints the prompts, and fails where it cannot; and it must not fetch anything.
            export PYTHONIOENCODING=utf-8:backslashreplace HF_HUB_OFFLINE=1
            exec "$python" -u qwen3_tokenizer_uid.py --host 127.0.0.1 --port "$port" "$@"
        fi
    done
    refuse "no qwen3_tokenizer_uid.py in or beside $model; copy it from the model's Hugging Face" \
        "page, or use AX650_TOKENIZER=builtin"
    ;;
*)
    refuse "AX650_TOKENIZER is '$AX650_TOKENIZER'; it may be builtin or vendor"
    ;;
esac
