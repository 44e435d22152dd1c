"""The runtime's requests to its tokenizer server, and what each kind of failure does to it.

Only the vendor's protocol.  Observed on the vendor's binary: no reply at all dereferences a null
pointer, a reply without its key is an uncaught exception, any status but 200 is a log line.
"""

from __future__ import annotations

import re
import socket
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from axmock import http_client, json_values
from axmock.console import Console, c_string
from axmock.crash import CppException, segfault
from axmock.http_client import Address, NoReply, Reply
from axmock.json_values import Json

_TRIES = 10

T = TypeVar("T")


class _Refused(Exception):
    """The server answered with a status other than 200."""


class TokenizerLink:
    """The client; the caller owns the lists of ids and keeps them when a call fails."""

    def __init__(self, url: str, console: Console) -> None:
        self._url = url
        self._console = console
        self._address: Address | None = None
        self._uid = ""
        self.eos_id = 0

    @property
    def address(self) -> Address:
        """The server's address, known after the first connection."""
        assert self._address is not None, "init() comes first"  # noqa: S101 - a caller's mistake
        return self._address

    def init(self) -> bool:
        """Connect, then ask for uid, bos and eos; a False result ends the program with 255."""
        if not self._connect():
            self._console.error("Init", 29, f"connect {self._url} failed")
            return False
        self._console.info("Init", 34, f"connect {self._url} ok")
        if "/" in self._url.partition("://")[2]:
            segfault()  # the library takes no path in an address and makes no client
        try:
            self._uid = self._ask("/get_uid", "uid", "", json_values.as_string, (52, 65))
            query = f"?uid={self._uid}"
            bos_id = self._ask(f"/bos_id{query}", "bos_id", 0, json_values.as_int, (77, 89))
            self.eos_id = self._ask(f"/eos_id{query}", "eos_id", 0, json_values.as_int, (101, 113))
        except _Refused:
            return False
        self._console.out.write(f"bos_id: {bos_id}, eos_id: {self.eos_id}\n")
        return True

    def reset(self, system_prompt: str) -> list[int] | None:
        """POST /reset; return None when it was refused (the vendor then reuses its old ids).

        Raises CppException for a 200 without token ids.
        """
        request: dict[str, Json] = {"uid": self._uid}
        if system_prompt:
            request["system_prompt"] = system_prompt
        reply = self._post("/reset", request)
        if reply.status != 200:
            self._console.error("Reset", 134, f"reset failed, status: {reply.status}")
            return None
        answer = json_values.parse_or_throw(reply.body)
        return json_values.as_ints(json_values.member(answer, "token_ids"))

    def encode(self, text: str, last_reply: str) -> list[int] | None:
        """POST /encode and return the new ids, or None when it failed (the turn goes on).

        Raises CppException for a 200 without its keys.
        """
        request: dict[str, Json] = {"uid": self._uid, "text": text, "img_prompt": False}
        if last_reply:
            request["last_reply"] = last_reply
        reply = self._post("/encode", request)
        if reply.status != 200:
            self._console.error("Encode", 158, f"encode failed, status: {reply.status}")
            return None
        try:
            answer = json_values.parse_or_throw(reply.body)
        except CppException as error:
            self._console.error("Encode", 168, f"json parse failed: {error.what}")
            self._console.error("Encode", 169, c_string(_text(reply)))
            return None
        json_values.as_ints(json_values.member(answer, "token_ids"))
        return json_values.as_ints(json_values.member(answer, "diff"))

    def decode(self, ids: list[int]) -> str:
        """POST /decode; after two failed attempts, each followed by a second, return ""."""
        for _ in range(2):
            reply = self._post("/decode", {"uid": self._uid, "token_ids": list(ids)})
            if reply.status == 200:
                try:
                    answer = json_values.parse_or_throw(reply.body)
                    return json_values.as_string(json_values.member(answer, "text"))
                except CppException as error:
                    self._console.error(
                        "Decode", 208, f"json parse failed: {error.what}, try again"
                    )
                    self._console.error("Decode", 209, c_string(_text(reply)))
            else:
                self._console.error(
                    "Decode", 195, f"decode failed, status: {reply.status}, try again"
                )
                self._console.error("Decode", 196, c_string(_text(reply)))
            time.sleep(1)
        return ""

    def _connect(self) -> bool:
        """Connect and close, up to ten times; no host name other than localhost resolves."""
        match = re.match(r"[^:]*://([^/:]*):([^/]*)", self._url)
        if match is None:
            return False
        host = "127.0.0.1" if match[1] == "localhost" else match[1]
        port = re.match(r"\s*\+?\d+", match[2])
        if port is None:
            raise CppException("std::invalid_argument", "stoi")
        self._address = Address(host, int(port[0]))
        for left in range(_TRIES - 1, -1, -1):
            if _reachable(self._address):
                return True
            time.sleep(1)
            self._console.out.write(
                f"\x1b[1;30;31mconnect failed {self._url}, try again in {left:2d}/{_TRIES:2d} \n"
                "\x1b[0m"
            )
        return False

    def _ask(
        self, target: str, key: str, default: T, take: Callable[[Json], T], lines: tuple[int, int]
    ) -> T:
        """GET one value; after ten tries return `default`, as the vendor's program does.

        Raises _Refused for a status other than 200.
        """
        refused_line, retry_line = lines
        for left in range(_TRIES - 1, -1, -1):
            reply = self._get(target)
            if reply.status != 200:
                self._console.error(
                    "Init", refused_line, f"get {key} failed, status: {reply.status}"
                )
                raise _Refused
            try:
                value = take(json_values.member(json_values.parse_or_throw(reply.body), key))
            except CppException as error:
                sys.stderr.write(f"{error.what}\n")
                time.sleep(1)
                retry = f"get {key} failed, try again {left}/{_TRIES}"
                self._console.error("Init", retry_line, retry)
            else:
                if key == "uid":
                    self._console.info("Init", 57, f"uid: {c_string(str(value))}")
                return value
        return default

    def _get(self, target: str) -> Reply:
        try:
            return http_client.get(self.address, target)
        except NoReply:
            segfault()

    def _post(self, target: str, request: dict[str, Json]) -> Reply:
        try:
            return http_client.post(self.address, target, json_values.dump(request))
        except NoReply:
            segfault()


def _reachable(address: Address) -> bool:
    try:
        socket.inet_aton(address.host)
        socket.create_connection((address.host, address.port), 1).close()
    except OSError:
        return False
    return True


def _text(reply: Reply) -> str:
    return reply.body.decode("utf-8", "replace")
