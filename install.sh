#!/usr/bin/env bash
# Installs the service from this checkout so that it starts at boot. Run it again to update.
#   sudo ./install.sh               the program to /opt/ax650, settings to /etc/ax650.env
#   ./install.sh --dry-run          only prints what it would do
#   sudo ./install.sh --uninstall   removes it again; your settings and models stay
#   sudo ./install.sh --with-axengine WHEEL   also installs PyAXEngine, for AX650_RUNTIME=axengine
# DESTDIR=/some/folder ./install.sh   below that folder: makes no user and starts nothing
set -euo pipefail

name=ax650
root=${DESTDIR:+$(realpath -m -- "$DESTDIR")}
app=$root/opt/$name
settings=$root/etc/$name.env
unit=$root/etc/systemd/system/$name.service
store=$root/var/lib/$name/models
backoff=$unit.d/10-backoff.conf
command=$root/usr/local/bin/$name
completion=$root/usr/local/share/bash-completion/completions/$name
program=(axproxy axmock deploy docs backend.py runtime_supervisor.py mock_main_api.py gunicorn.conf.py
    start_tokenizer.sh backend.service install.sh requirements.txt requirements-dev.txt
    requirements-hardware.txt requirements-signatures.txt requirements-axengine.txt README.md CHANGELOG.md LICENSE)
dry='' changed='' wheel=''

say() { echo "install${dry:+ (dry run)}: $*"; }
fail() {
    echo "install: $*" >&2
    exit 1
}
# Runs a command, or prints it with --dry-run.
run() {
    if [ "$dry" ]; then
        echo "  would run: $*"
    else
        "$@"
    fi
}

main() {
    local action=install words=$*
    while [ $# -gt 0 ]; do
        case $1 in
            --dry-run) dry=yes ;;
            --uninstall) action=uninstall ;;
            --with-axengine)
                wheel=$(realpath -m -- "${2:-/}")
                [ -f "$wheel" ] || fail "--with-axengine needs the file of PyAXEngine's wheel; download it from" \
                    "https://github.com/AXERA-TECH/pyaxengine/releases"
                shift
                ;;
            -h | --help)
                sed -n '2,7s/^# //p' "${BASH_SOURCE[0]}"
                exit
                ;;
            *) fail "unknown option $1; ./install.sh --help lists the options" ;;
        esac
        shift
    done
    here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
    umask 022
    if [ -z "$root$dry" ]; then
        [ "$(id -u)" = 0 ] || fail "this needs root; run: sudo $here/install.sh${words:+ $words}"
        [ -d /run/systemd/system ] ||
            fail "this machine does not run systemd; start the service with ./run_integration.sh --serve"
    fi
    if [ $action = uninstall ]; then
        uninstall
    else
        copy_program
        make_venv
        make_user
        write_settings
        write_unit
        write_command
        [ "$root" ] || start
        report
    fi
}

copy_program() {
    local item stale=''
    [ "$here" != "$app" ] || return 0
    for item in "${program[@]}"; do
        diff -rq -x __pycache__ "$here/$item" "$app/$item" >/dev/null 2>&1 || stale=yes
    done
    [ "$stale" ] || return 0
    changed=yes
    say "copying the program to $app"
    run mkdir -p "$app"
    (cd "$app" 2>/dev/null && run rm -rf "${program[@]}") || true
    cd "$here"
    # Without the caches: their files change while something runs in the checkout.
    run find "${program[@]}" -name __pycache__ -prune -o -type f -exec cp --parents -t "$app" {} +
    # A checkout made with a strict umask would keep the service's user out.
    run find "$app" -not -path '*/.venv/*' -exec chmod a+rX,go-w {} +
}

make_venv() {
    if [ "$dry" ]; then
        say "making $app/.venv with the packages in requirements.txt"
        return
    fi
    cd "$app"
    # shellcheck source=deploy/venv.sh
    . deploy/venv.sh
    prepare_venv requirements.txt
    if [ "$wheel" ]; then
        say "installing PyAXEngine from $wheel"
        .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-axengine.txt "$wheel" ||
            fail "PyAXEngine could not be installed, see above; check the network and run this again"
        changed=yes
    fi
    # The service cannot write here, and would compile everything at each start.
    .venv/bin/python -m compileall -q axproxy axmock ./*.py
}

make_user() {
    [ -z "$root" ] || return 0
    if ! id "$name" >/dev/null 2>&1; then
        say "making the user $name, who owns nothing and cannot log in"
        run useradd --system --user-group --no-create-home --home-dir /nonexistent \
            --shell /usr/sbin/nologin "$name"
    fi
}

write_settings() {
    if [ -e "$settings" ]; then
        say "keeping your settings in $settings"
    else
        say "writing $settings"
        # The file may hold an API key later; systemd reads it as root.
        run install -D -m 600 "$here/deploy/$name.env" "$settings"
    fi
}

write_unit() {
    if ! cmp -s "$here/backend.service" "$unit"; then
        changed=yes
        say "writing $unit"
        run install -D -m 644 "$here/backend.service" "$unit"
    fi
    # systemd before 254 has no growing restart delays and warns about unknown settings.
    if [ "$(systemd_version)" -ge 254 ] && ! cmp -s "$here/deploy/backoff.conf" "$backoff"; then
        run install -D -m 644 "$here/deploy/backoff.conf" "$backoff"
    fi
}

# The command `ax650`, and its completion in bash.
write_command() {
    if ! cmp -s "$here/deploy/$name" "$command"; then
        say "writing $command"
        run install -D -m 755 "$here/deploy/$name" "$command"
    fi
    if [ "$dry" ]; then
        run "write the completion of its commands to $completion"
        return
    fi
    mkdir -p "$(dirname "$completion")"
    "$app/.venv/bin/python" "$app/backend.py" completion bash >"$completion"
}

systemd_version() {
    local version=0
    read -r _ version _ < <(systemctl --version 2>/dev/null) || true
    version=${version%%[!0-9]*}
    echo "${version:-0}"
}

start() {
    run systemctl daemon-reload
    run systemctl --quiet enable "$name"
    # An earlier unit's limit of starts may have been reached.
    run systemctl --quiet reset-failed "$name" 2>/dev/null || true
    if ! systemctl --quiet is-active "$name" 2>/dev/null; then
        run systemctl start --no-block "$name"
    elif [ "$changed" ]; then
        say "restarting the service; the model is loaded again"
        run systemctl restart --no-block "$name"
    else
        say "nothing has changed; the service keeps running"
    fi
}

report() {
    local variable path
    [ -z "$dry$root" ] || return 0
    as_user "$app/.venv/bin/python" -c '' ||
        fail "the user $name cannot run $(readlink -f "$app/.venv/bin/python")," \
            "which belongs to another user; run: sudo apt install python3 && sudo rm -r $app/.venv," \
            "then ./install.sh again"
    for variable in AX650_MODEL_PATH AX650_RUNTIME_BIN AX650_AXLLM_BIN; do
        path=$(setting "$variable")
        if [ -e "$path" ] && ! as_user test -r "$path"; then
            say "the user $name cannot read $path ($variable); put it below /opt/models, or run:"
            say "  $(opening "$path")"
        fi
    done
    if [ -z "$(setting AX650_MODEL_PATH)$(setting AX650_RUNTIME)" ] &&
        ! find "$store" -mindepth 2 -name '*.axmodel' 2>/dev/null | grep -q .; then
        say "there is no model yet. Put its folder into $store, or name it in $settings."
        say "AX650_RUNTIME=mock in that file starts a simulator instead."
    fi
    say "done. Watch it load with: $name status --watch"
}

as_user() { setpriv --reuid="$name" --regid="$name" --clear-groups -- "$@"; }
# Prints the command that lets all users read a path: the folders above it, and all below.
opening() {
    local above
    above=$(dirname "$1")
    while [ "$above" != / ]; do
        as_user test -x "$above" || printf 'sudo chmod a+x %q && ' "$above"
        above=$(dirname "$above")
    done
    printf 'sudo chmod -R a+rX %q\n' "$1"
}

# Prints the value of a setting in the file that systemd reads, without quotes.
setting() {
    sed -n "s/^$1=//p" "$settings" 2>/dev/null | tail -n 1 | tr -d "\"'"
}

uninstall() {
    if [ -z "$root" ]; then
        if [ -e "$unit" ]; then
            say "stopping the service; if a model is loading, this takes up to four minutes"
            run systemctl --quiet disable --now "$name"
        fi
    fi
    run rm -f "$unit" "$backoff" "$command" "$completion"
    [ ! -d "$unit.d" ] || run rmdir --ignore-fail-on-non-empty "$unit.d"
    if [ -e "$app/.git" ]; then
        say "$app is a git checkout, so it stays"
    elif [ -e "$app/backend.py" ]; then
        run rm -rf "$app"
    fi
    if [ -z "$root" ]; then
        run systemctl daemon-reload
        if id "$name" >/dev/null 2>&1; then run userdel "$name"; fi
    fi
    [ ! -e "$settings" ] || say "your settings stay in $settings; delete the file if you do not need them"
    say "done"
}

main "$@"
exit
