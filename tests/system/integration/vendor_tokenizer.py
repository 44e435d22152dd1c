"""Behaves as the vendor's tokenizer script, with a byte for a token: a session per runtime.

A uid that it has not given out is answered with an error, status 200, as the vendor's does.  What
the model would see is noted in the file `seen`.  Two texts set off its weaknesses, once each.
"""

from __future__ import annotations

import argparse
import json
import uuid
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

OPENING = "<|im_start|>assistant\n"


def once(what: str) -> bool:
    """Whether this happens for the first time, restarts included."""
    mark = Path(f"{what}.happened")
    happened = mark.exists()
    mark.touch()
    return not happened


class Session:
    def __init__(self) -> None:
        self.text = ""  # the conversation that the runtime has or has been given
        self.undecoded = b""

    def reset(self, system: str) -> list[int]:
        self.text = f"<|im_start|>system\n{system}<|im_end|>\n"
        return list(self.text.encode())

    def encode(self, prompt: str, last_reply: str) -> list[int]:
        if last_reply:
            self.text += f"{OPENING}{last_reply}<|im_end|>\n"  # even of the conversation before
        if "half a character" in prompt and once("half"):
            self.undecoded += "é".encode()[:1]
        new = f"<|im_start|>user\n{prompt}/no_think<|im_end|>\n{OPENING}"
        system = self.text.partition("<|im_end|>\n")[0]
        Path("seen").write_text(f"{system}<|im_end|>\n{new}")
        self.text += new
        return list(new.encode())

    def decode(self, ids: list[int]) -> str:
        self.undecoded += bytes(ids)
        text = self.undecoded.decode(errors="replace")
        if "\ufffd" in text:  # taken for half a character; it waits for the rest
            return ""
        self.undecoded = b""
        return text


SESSIONS: dict[str, Session] = {}


class Script(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = urlsplit(self.path)
        uid = parse_qs(path.query).get("uid", [""])[0]
        if path.path == "/get_uid":
            SESSIONS[given := str(uuid.uuid4())] = Session()
            self.say({"uid": given})
        elif path.path in ("/bos_id", "/eos_id"):
            key = path.path[1:]
            self.say({key: 256} if uid in SESSIONS else {"error": "Invalid uid"})
        else:
            self.say({"error": "Invalid GET endpoint"})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        session = SESSIONS.get(asked.get("uid"))
        if session is None:
            self.say({"error": "Invalid uid"})
        elif self.path == "/decode":
            self.say({"text": session.decode(asked["token_ids"])})
        elif self.path == "/encode":
            if "stumble" in asked["text"] and once("stumble"):
                self.send_response(200)  # an exception after the status line
                self.end_headers()
                return
            ids = session.encode(asked["text"], asked.get("last_reply", ""))
            self.say({"token_ids": ids, "diff": ids})
        elif self.path == "/reset":
            self.say({"token_ids": session.reset(asked.get("system_prompt", "You are Qwen."))})
        else:
            self.say({"error": "Invalid POST endpoint"})

    def say(self, answer: dict[str, object]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


parser = argparse.ArgumentParser()
parser.add_argument("--host")
parser.add_argument("--port", type=int)
arguments = parser.parse_args()
HTTPServer((arguments.host, arguments.port), Script).serve_forever()
