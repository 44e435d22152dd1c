"""python open-webui.py URL      `open-webui serve`, a chat, a look at what is loaded, an unload"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests

with socket.socket() as taken:
    taken.bind(("127.0.0.1", 0))
    port = taken.getsockname()[1]
environ = {
    "DATA_DIR": tempfile.mkdtemp(),
    "OLLAMA_BASE_URL": sys.argv[1],
    "OFFLINE_MODE": "true",
    "WEBUI_AUTH": "False",
    "ENABLE_OPENAI_API": "False",
    "RAG_EMBEDDING_ENGINE": "openai",  # the default downloads an embedding model
    "WEBUI_SECRET_KEY": "handshake",
}
program = Path(sys.executable).with_name("open-webui")
server = subprocess.Popen(
    [program, "serve", "--host", "127.0.0.1", "--port", str(port)],
    env=os.environ | environ,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
)
browser = requests.Session()
browser.trust_env = False


def call(method: str, path: str, body: object = None) -> requests.Response:
    reply = browser.request(method, f"http://127.0.0.1:{port}{path}", json=body, timeout=30)
    assert reply.ok, (path, reply.status_code, reply.text)
    return reply


try:
    deadline = time.monotonic() + 200
    while True:
        try:
            call("GET", "/health")
            break
        except requests.ConnectionError:
            assert time.monotonic() < deadline
            time.sleep(0.5)
    nobody = {"email": "", "password": ""}  # signs in where WEBUI_AUTH is off
    token = call("POST", "/api/v1/auths/signin", nobody).json()["token"]
    browser.headers["Authorization"] = f"Bearer {token}"
    call("POST", "/ollama/verify", {"url": sys.argv[1], "key": ""})
    (model,) = [m["id"] for m in call("GET", "/api/models").json()["data"] if "ollama" in m]
    assert model == "mock:latest"
    asked = [{"role": "user", "content": "Why is the sky blue?"}]
    for stream in (True, False):
        chat = {"model": model, "messages": asked, "stream": stream}
        answer = call("POST", "/api/chat/completions", chat).text
        print(answer)
        assert "blue" in answer
    print(call("GET", "/ollama/api/ps").text)
    print(call("GET", "/ollama/api/version").text)
    print(call("POST", "/ollama/api/unload", {"model": model}).text)
finally:
    server.terminate()
    server.wait(30)
