"""The manners of the vendor's tokenizer script, with a byte for a token: one session per process.

A uid that it has not given out is answered with an error, status 200, as the vendor's does.
"""

from __future__ import annotations

import argparse
import json
import uuid
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

UIDS: set[str] = set()


class Script(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = urlsplit(self.path)
        uid = parse_qs(path.query).get("uid", [""])[0]
        if path.path == "/get_uid":
            UIDS.add(given := str(uuid.uuid4()))
            self.say({"uid": given})
        elif path.path in ("/bos_id", "/eos_id"):
            key = path.path[1:]
            self.say({key: 256} if uid in UIDS else {"error": "Invalid uid"})
        else:
            self.say({"error": "Invalid GET endpoint"})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if asked.get("uid") not in UIDS:
            self.say({"error": "Invalid uid"})
        elif self.path == "/decode":
            self.say({"text": bytes(asked["token_ids"]).decode(errors="replace")})
        elif self.path == "/encode":
            ids = list(asked["text"].encode())
            self.say({"token_ids": ids, "diff": ids})
        elif self.path == "/reset":
            self.say({"token_ids": list(asked.get("system_prompt", "You are Qwen.").encode())})
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
