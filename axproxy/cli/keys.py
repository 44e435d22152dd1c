"""`ax650 keys`: adds, lists and removes the named keys of `AX650_API_KEYS_FILE`."""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
from pathlib import Path

from axproxy.api_keys import (
    LARGEST_LIMIT,
    BadKeyLine,
    NamedKey,
    check_name,
    digest_of,
    new_key,
    parse_keys,
)
from axproxy.cli.service import CommandFailed, settings_by_hand

_NEW_FILE = 0o644  # the service runs as another user, and the hashes of random keys tell nothing


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser("add", help="make a key and print it, this once")
    add.add_argument("name", metavar="NAME", help="whose key it is")
    add.add_argument("--waiting", type=int, metavar="N", help="requests that may wait")
    add.add_argument("--rate", type=int, metavar="N", help="requests that may come in a minute")
    add.add_argument("--models", metavar="A,B", help="the only models that it may use")
    add.add_argument("--operator", action="store_true", help="it may do all that AX650_API_KEY may")
    actions.add_parser("list", help="show the names of the keys and their limits")
    remove = actions.add_parser("remove", help="make a key useless")
    remove.add_argument("name", metavar="NAME", help="a name of the list")


def run(options: argparse.Namespace) -> int:
    settings, _ = settings_by_hand()
    path = settings.api_keys_file
    if path is None:
        raise CommandFailed(
            "set AX650_API_KEYS_FILE to a file, such as /etc/ax650.keys, and call this again"
        )
    if options.action == "list":
        for key in _keys(path):
            print(_described(key))
    elif options.action == "remove":
        _remove(path, options.name)
        print(f"removed {options.name}; the service refuses the key from now on")
    else:
        print(_added(path, options))
    return 0


def _added(path: Path, options: argparse.Namespace) -> str:
    """Write a new key to the file; return the key."""
    text = _text(path)
    if any(key.name == options.name for key in _parsed(path, text)):
        raise CommandFailed(f"there is a key {options.name}; remove it first, or take another name")
    sent = new_key()
    try:
        key = NamedKey(
            check_name(options.name),
            digest_of(sent.encode()),
            options.waiting,
            options.rate,
            tuple(filter(None, (options.models or "").split(","))),
            options.operator,
        )
        text = f"{text.rstrip()}\n{key.line()}\n".lstrip()
        parse_keys(text)  # the limits
    except BadKeyLine as error:
        raise CommandFailed(
            f"{str(error).rpartition(': ')[2]} (at most {LARGEST_LIMIT})"
        ) from error
    _write(path, text)
    return sent


def _remove(path: Path, name: str) -> None:
    text = _text(path)
    if not any(key.name == name for key in _parsed(path, text)):
        raise CommandFailed(f"there is no key {name}; keys list shows their names")
    lines = [line for line in text.splitlines(keepends=True) if line.split()[:1] != [name]]
    _write(path, "".join(lines))


def _keys(path: Path) -> tuple[NamedKey, ...]:
    return _parsed(path, _text(path))


def _described(key: NamedKey) -> str:
    limits = key.line().split()[2:]
    return f"{key.name}  {' '.join(limits) or 'no limits'}"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise CommandFailed(f"{path} is not text; move it away") from error
    except OSError as error:
        raise CommandFailed(f"cannot read {path}: {error.strerror}; use sudo") from error


def _parsed(path: Path, text: str) -> tuple[NamedKey, ...]:
    try:
        return parse_keys(text)
    except BadKeyLine as error:
        raise CommandFailed(f"{path}: {error}; correct that line first") from error


def _write(path: Path, text: str) -> None:
    """Replace the file as a whole, so that the service never reads half of it."""
    path = Path(os.path.realpath(path))
    try:
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=f".{path.name}.", delete=False, encoding="utf-8"
        ) as file:
            temporary = Path(file.name)
            try:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                _take_rights_of(path, file.fileno())
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise CommandFailed(f"cannot write {path}: {error.strerror}; use sudo") from error


def _take_rights_of(path: Path, descriptor: int) -> None:
    try:
        before = path.stat()
    except FileNotFoundError:
        os.fchmod(descriptor, _NEW_FILE)
        return
    with contextlib.suppress(PermissionError):  # another's file, which only root may give back
        os.fchown(descriptor, before.st_uid, before.st_gid)
    os.fchmod(descriptor, before.st_mode & 0o777)
