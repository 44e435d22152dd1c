# Sourced by install.sh and the run_*.sh scripts: `prepare_venv FILE` makes .venv and installs FILE into it, once.
# Reports what is missing on the machine, with the command that installs it.
# shellcheck shell=bash

find_python() {
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    echo "Python 3.11 or newer is needed; $(how_to_get_python)" >&2
    return 1
}

# Prints what helps on this system; OS_RELEASE names another file in tests.
how_to_get_python() {
    local have
    have=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || have=
    (
        ID='' VERSION_ID='' PRETTY_NAME=''
        # shellcheck source=/dev/null
        . "${OS_RELEASE:-/etc/os-release}" 2>/dev/null || true
        case $ID-$VERSION_ID in
            ubuntu-22.04) echo "on Ubuntu 22.04: sudo apt install python3.11 python3.11-venv" ;;
            debian-12 | raspbian-12 | debian-13) echo "on ${PRETTY_NAME:-Debian}: sudo apt install python3 python3-venv" ;;
            *)
                echo "${have:+python3 is $have, which is too old; }upgrade the system (Debian 12, Raspberry Pi OS" \
                    "of that time, Ubuntu 24.04) and run: sudo apt install python3 python3-venv"
                ;;
        esac
    )
}

# What .venv should hold: the requirements, for its Python's version.  An upgrade of the system can make
# .venv/bin/python another Python, which has none of the installed packages.
wanted_content() {
    .venv/bin/python -c 'import sys; print(*sys.version_info[:2])' 2>/dev/null && cat requirements*.txt
}

# Prints why making .venv failed, and what helps.  $1 is what the failed program has printed.
explain_failure() {
    case $1 in
        *"No space left"* | *"Errno 28"* | *"Disk quota"*)
            echo "there is no room on the disk of $PWD; make room (about 200 MB) and run this again"
            ;;
        *"Read-only file system"* | *"Errno 30"* | *"Permission denied"* | *"Errno 13"*)
            echo "$PWD/.venv cannot be written; make the folder your own, or copy it to a place where you may write"
            ;;
        *)
            echo "$1"
            echo "the installation failed, see above; check the network and run this again"
            ;;
    esac >&2
}

prepare_venv() {
    local wanted=$1 python stamp output
    stamp=.venv/installed-$(basename "$wanted" .txt)
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(wanted_content)" ]; then
        return
    fi
    trap 'echo; echo "interrupted; run it again to go on" >&2; exit 130' INT
    # pip is installed last, so an interrupted attempt has none.
    if [ ! -x .venv/bin/python ] || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        python=$(find_python) || return 1
        if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
            echo "Python's venv module is missing; install it with: sudo apt install $(basename "$python")-venv" >&2
            return 1
        fi
        echo "making .venv with $("$python" --version)"
        # Its output is kept back: by Ctrl-C it would be twenty lines of Python.
        if ! output=$("$python" -m venv --clear .venv 2>&1); then
            explain_failure "$output"
            return 1
        fi
    fi
    echo "installing $wanted (once; about a minute on a Pi)"
    if ! output=$(.venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$wanted" 2>&1); then
        explain_failure "$output"
        return 1
    fi
    wanted_content >"$stamp"
    trap - INT
}
