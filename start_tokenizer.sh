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

# Prints the name of the vendor's script in a folder: the only one, or the one whose family the model's
# name begins with, such as qwen2.5_tokenizer_uid.py for Qwen2.5-3B.
vendor_script() {
    local found=() each family name
    for each in "$1"/*_tokenizer_uid.py; do
        [[ ! -f $each ]] || found+=("${each##*/}")
    done
    if ((${#found[@]} > 1)); then
        for name in "$(basename -- "$(readlink -f -- "$model")")" "$(basename -- "$(readlink -f -- "$model/..")")"; do
            name=$(tr -cd '[:alnum:]' <<<"${name,,}")
            for each in "${found[@]}"; do
                family=$(tr -cd '[:alnum:]' <<<"${each%_tokenizer_uid.py}")
                if [[ $name == "${family,,}"* ]]; then
                    echo "$each"
                    return
                fi
            done
        done
        refuse "$1 has several scripts (${found[*]}), and none is named like the model; keep the right one"
    fi
    echo "${found[0]:-}"
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
        script=$(vendor_script "$folder")
        if [[ -n $script ]]; then
            # The script looks for its vocabularies in the working directory.
            cd -- "$folder"
            # It prints the prompts, and fails where it cannot; and it must not fetch anything.
            export PYTHONIOENCODING=utf-8:backslashreplace HF_HUB_OFFLINE=1
            exec "$python" -u "$script" --host 127.0.0.1 --port "$port" "$@"
        fi
    done
    refuse "no *_tokenizer_uid.py in or beside $model; copy it from the model's Hugging Face" \
        "page, or use AX650_TOKENIZER=builtin"
    ;;
*)
    refuse "AX650_TOKENIZER is '$AX650_TOKENIZER'; it may be builtin or vendor"
    ;;
esac
