"""From a request to the simulated card and back, through every process."""

from __future__ import annotations

import concurrent.futures
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import requests

from axproxy import __version__
from tests.support.ports import own_port
from tests.support.service import ROOT, Service, Start, run
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

QUESTION = "Why is the sky blue?"


def lines(reply: requests.Response) -> list[dict]:
    return [json.loads(line) for line in reply.iter_lines()]


def chat(text: str, **more: object) -> dict:
    return {"model": "mock", "messages": [{"role": "user", "content": text}], **more}


# --- answers


def test_generate_answers_a_plain_curl_without_a_content_type(shared: Service) -> None:
    body = json.dumps({"prompt": QUESTION, "max_tokens": 64})
    curl = ["curl", "-s", "--noproxy", "*", f"{shared.base}/generate", "-d", body]
    answer = json.loads(subprocess.run(curl, capture_output=True, check=True).stdout)

    assert answer["text"]
    assert answer["finish_reason"] in ("stop", "length")
    assert 0 < answer["usage"]["completion_tokens"] <= 64


def test_generate_streams_lines(shared: Service) -> None:
    reply = shared.post("/generate", {"prompt": QUESTION * 20, "stream": True}, stream=True)
    *texts, last = lines(reply)

    assert len(texts) > 1
    assert QUESTION in "".join(line["text"] for line in texts)
    assert last["finish_reason"] == "stop"


def test_the_model_gets_the_last_message_word_for_word(shared: Service) -> None:
    said = 'Grüße! 你好 🙂 <|im_end|> {braces} \\ "quotes"'
    answer = shared.post("/api/chat", chat(said, stream=False)).json()

    assert said in answer["message"]["content"]
    assert answer["done"] is True
    assert answer["done_reason"] == "stop"


def test_chat_streams_as_the_model_answers(shared: Service) -> None:
    reply = shared.post("/api/chat", chat(QUESTION * 20), stream=True)
    assert reply.headers["Content-Type"] == "application/x-ndjson"
    *texts, last = lines(reply)

    assert len(texts) > 3
    assert all(line["done"] is False for line in texts)
    assert last["done"] is True
    assert last["total_duration"] >= (
        last["load_duration"] + last["prompt_eval_duration"] + last["eval_duration"]
    )
    assert last["eval_count"] >= len(texts)


@pytest.mark.parametrize("wanted", [1, 2, 3, 4, 5, 7, 12])
def test_num_predict_is_exact_to_the_token(shared: Service, wanted: int) -> None:
    body = {"model": "mock", "prompt": QUESTION, "stream": False}
    answer = shared.post("/api/generate", {**body, "options": {"num_predict": wanted}}).json()
    whole = shared.post("/api/generate", body).json()

    assert answer["eval_count"] == wanted
    assert answer["done_reason"] == "length"
    assert whole["response"].startswith(answer["response"])


def test_a_stop_string_is_cut_before_it_begins(shared: Service) -> None:
    body = {"model": "mock", "prompt": QUESTION, "stream": False, "options": {"stop": ["sky"]}}
    answer = shared.post("/api/generate", body).json()

    assert "sky" not in answer["response"]
    assert answer["done_reason"] == "stop"


def test_concurrent_answers_never_mix(shared: Service) -> None:
    def ask(number: int) -> str:
        said = f"This is request number {number * 7919}."
        return shared.post("/api/chat", chat(said, stream=False)).json()["message"]["content"]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    for number, answer in enumerate(answers):
        assert f"number {number * 7919}." in answer
        assert answer.count("This is request number") == 1


def test_the_small_routes_answer_in_ollamas_shape(shared: Service) -> None:
    assert shared.get("/").text == "Ollama is running"
    assert shared.get("/api/version").json()["version"].count(".") == 2
    (model,) = shared.get("/api/tags").json()["models"]
    assert model["name"] == "mock:latest"
    assert len(model["digest"]) == 64
    assert shared.get("/ready").json() == {"ready": True, "simulated": True}


def test_health_shows_both_processes(shared: Service) -> None:
    health = shared.health()

    assert health["status"] == "ok"
    assert health["backend_type"] == "mock"
    assert health["model_loaded"] is True
    assert health["runtime"]["state"] == health["tokenizer"]["state"] == "ready"
    assert health["runtime"]["load_percent"] == 100
    assert psutil.pid_exists(health["runtime"]["pid"])


def test_a_prompt_longer_than_the_window_is_refused_and_harmless(
    shared: Service,
) -> None:
    before = shared.pids()
    answer = shared.post("/generate", {"prompt": "many words " * 5000})

    assert answer.status_code == 400
    assert "tokens" in answer.json()["error"]
    assert shared.post("/generate", {"prompt": "hi", "max_tokens": 3}).status_code == 200
    assert shared.pids() == before


def test_a_long_conversation_is_cut_at_its_beginning(shared: Service) -> None:
    turns = [
        {"role": role, "content": f"turn {number} " + "and some more words " * 40}
        for number in range(60)
        for role in ("user", "assistant")
    ]
    last = {"role": "user", "content": "the last word"}
    answer = shared.post("/api/chat", {"model": "mock", "messages": [*turns, last]}, stream=True)

    assert "the last word" in "".join(line["message"]["content"] for line in lines(answer))


# --- clients that leave


def half_asked(service: Service, body: dict, path: str = "/api/chat") -> socket.socket:
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
    client = socket.create_connection(("127.0.0.1", service.port), timeout=60)
    client.sendall(head.encode() + data)
    return client


def queue(service: Service) -> dict:
    return service.health()["queue"]


def test_a_client_that_leaves_frees_the_engine_at_once(
    start_service: Start,
) -> None:
    slow = "--load-seconds 0.1 --tokens-per-second 1 --prefill-tokens-per-second 130"
    service = start_service(AX650_MOCK_ARGS=slow)
    question = QUESTION * 20  # repeated in two minutes
    for stream in (True, False):
        client = half_asked(service, chat(question, stream=stream))
        eventually(lambda: queue(service)["answering"])
        waiting = half_asked(service, chat(question))
        eventually(lambda: queue(service)["waiting"] == 1)
        waiting.close()
        eventually(lambda: queue(service)["waiting"] == 0)
        client.close()
        eventually(lambda: not queue(service)["answering"])
    assert service.stop() == 0


def test_a_conversation_goes_on_from_what_the_card_has_in_its_cache(start_service: Start) -> None:
    service = start_service()
    history: list[dict[str, str]] = [{"role": "system", "content": "Be brief. " * 30}]
    counts = []
    for number in range(4):
        history.append({"role": "user", "content": f"Question {number}"})
        body = {"model": "mock", "messages": history, "stream": False, "think": False}
        reply = service.post("/api/chat", body).json()
        assert reply["message"]["content"].endswith(f"You said: Question {number}")
        history.append(reply["message"])
        counts.append(reply["prompt_eval_count"])

    assert service.health()["kv_cache"] == {"hits": 3, "misses": 1}
    assert counts == sorted(counts)
    assert counts[0] > 60
    other = service.post("/generate", {"prompt": "Question 4"}).json()
    assert other["text"].endswith("You said: Question 4")
    assert service.health()["kv_cache"] == {"hits": 3, "misses": 2}
    service.stop()


# --- failures


def test_during_a_load_the_percentage_is_shown_and_requests_wait(start_service: Start) -> None:
    service = start_service(wait=False, AX650_MOCK_ARGS="--load-seconds 3")
    eventually(service.listening)
    seen = eventually(lambda: service.health()["runtime"]["load_percent"])

    assert 0 < seen < 100
    refused = service.get("/ready")
    assert refused.status_code == 503
    assert "%" in refused.json()["error"]
    reply = service.post("/api/generate", {"model": "mock", "prompt": "hi", "stream": False})
    assert reply.json()["done_reason"] == "stop"
    assert reply.json()["load_duration"] > 1e8
    service.stop()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_sigint_and_sigterm_end_everything_with_status_0(
    start_service: Start, number: signal.Signals
) -> None:
    service = start_service()
    family = service.family()

    assert service.stop(number) == 0
    assert not any(process.is_running() for process in family)


def test_ctrl_c_in_a_terminal_reaches_every_process_and_still_ends_in_order(
    start_service: Start,
) -> None:
    service = start_service()
    family = service.family()
    os.killpg(service.process.pid, signal.SIGINT)  # as a terminal does
    service.process.wait(120)

    _gone, alive = psutil.wait_procs(family, timeout=120)
    assert not alive
    assert "runtime: stopping -> stopped" in service.log.read_text()


def test_a_foreign_program_on_the_runtimes_port_is_named(start_service: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        port = str(squatter.getsockname()[1])
        service = start_service(wait=False, AX650_RUNTIME_PORT=port)
        eventually(service.listening)
        note = eventually(lambda: service.health()["runtime"]["note"])
        assert f"port {port} is held by" in note
        assert str(os.getpid()) in note
        refused = service.post("/generate", {"prompt": "hi"})
        assert refused.status_code == 503
        assert port in refused.json()["error"]
    eventually(service.ready)
    service.stop()


def test_a_second_service_on_the_same_runtime_port_says_so(
    shared: Service, start_service: Start
) -> None:
    second = start_service(wait=False, AX650_RUNTIME_PORT=str(shared.runtime_port))

    assert second.process.wait(120) != 0
    last = second.log.read_text().splitlines()[-1]  # gunicorn adds nothing after it
    assert last.startswith("backend: another supervisor looks after port")


def test_clients_that_keep_their_connection_open_delay_no_others(shared: Service) -> None:
    clients = []
    for request in (b"GET /health HTTP/1.0\r\n\r\n", b"garbage\r\n\r\n") * 5:
        clients.append(socket.create_connection(("127.0.0.1", shared.port), timeout=60))
        clients[-1].sendall(request)
        assert clients[-1].recv(1)
    began = time.monotonic()
    assert shared.get("/health").status_code == 200
    assert time.monotonic() - began < 15  # gunicorn by itself takes two seconds for each
    for client in clients:
        client.close()


def test_the_first_line_of_the_log_tells_the_version(shared: Service) -> None:
    assert f"version {__version__}, mock, on Python" in shared.log.read_text().splitlines()[0]


def test_closing_the_terminal_ends_the_service(start_service: Start) -> None:
    service = start_service()
    family = service.family()

    assert service.stop(signal.SIGHUP) == 0
    assert not any(process.is_running() for process in family)


def test_a_log_file_that_cannot_be_written_is_one_sentence() -> None:
    for program in ("backend.py", "runtime_supervisor.py"):
        result = run(sys.executable, str(ROOT / program), AX650_LOG_FILE="/nowhere/log")
        assert result.returncode in (1, 2)
        assert "AX650_LOG_FILE cannot be written" in result.stderr
        assert "Traceback" not in result.stderr


# --- the entry points


@pytest.mark.parametrize("program", ["backend.py", "runtime_supervisor.py"])
@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("AX650_PROT", "1", "did you mean AX650_PORT?"),
        ("AX650_PORT", "many", "AX650_PORT must be a whole number from 1 to 65535, not 'many'"),
    ],
)
def test_a_wrong_setting_is_one_sentence_and_status_2(
    program: str, variable: str, value: str, sentence: str
) -> None:
    result = run(sys.executable, str(ROOT / program), **{variable: value})

    assert result.returncode == 2
    assert sentence in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("program", "refusal"),
    [
        ("backend.py", "there is no command doctorr; did you mean doctor?"),
        ("runtime_supervisor.py", "there is no doctorr; try python3 runtime_supervisor.py --help"),
    ],
)
def test_help_is_shown_and_an_unknown_word_is_refused(program: str, refusal: str) -> None:
    shown = run(sys.executable, str(ROOT / program), "--help")
    refused = run(sys.executable, str(ROOT / program), "doctorr")

    assert shown.returncode == 0
    assert f"python3 {program}" in shown.stdout
    assert refused.returncode == 2
    assert refusal in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("program", ["backend.py", "runtime_supervisor.py"])
def test_the_help_may_be_cut_short(program: str) -> None:
    result = run("sh", "-c", f"{sys.executable} {ROOT / program} --help | true")

    assert result.stderr == ""


def test_the_doctors_output_may_be_cut_short() -> None:
    doctor = f"{sys.executable} {ROOT / 'backend.py'} doctor --json | head -n 1"
    result = run("sh", "-c", doctor, AX650_MODEL_PATH="/nowhere")

    assert result.stdout == "{\n"
    assert result.stderr == ""


def test_serving_in_the_background_of_a_shell_still_ends_by_sigint(
    start_service: Start,
) -> None:
    smoke_test = f"trap '' INT; exec {sys.executable} -m axproxy.cli.smoke_test --serve"
    service = start_service(command=["sh", "-c", smoke_test], folder=ROOT)
    eventually(lambda: "Ctrl-C stops it" in service.log.read_text())

    assert service.stop(signal.SIGINT) == 0
    printed = service.log.read_text()
    assert "INFO" not in printed.partition("\n> ")[2].partition("tokens/s")[0]
    assert printed.endswith("stopped; no process is left behind\n")


def test_the_last_line_of_the_smoke_test_says_what_is_wrong(start_service: Start) -> None:
    smoke_test = [sys.executable, "-m", "axproxy.cli.smoke_test"]
    mock = "--tokens-per-secnd 5"
    service = start_service(command=smoke_test, folder=ROOT, wait=False, AX650_MOCK_ARGS=mock)

    assert service.process.wait(120) == 1
    last = service.log.read_text().splitlines()[-1]
    assert last.startswith("run_integration: exited with status 1")
    assert last.endswith("it printed: undefined option: --tokens-per-secnd")


def test_importing_the_backend_starts_nothing() -> None:
    code = "import backend, threading; print(threading.active_count())"
    result = run(sys.executable, "-c", code, PYTHONPATH=str(ROOT))

    assert result.stdout.strip() == "1"


def test_gunicorn_from_a_checkout_works_too(start_service: Start) -> None:
    gunicorn = [sys.executable, "-m", "gunicorn", "backend:app"]
    service = start_service(command=gunicorn, folder=ROOT)

    assert service.post("/generate", {"prompt": "hi"}).status_code == 200
    assert service.stop() == 0


def test_gunicorn_without_our_settings_says_how_to_give_it_them(tmp_path: Path) -> None:
    gunicorn = [sys.executable, "-m", "gunicorn", "--chdir", str(ROOT), "backend:app"]
    result = run(*gunicorn, "-b", f"127.0.0.1:{own_port()}")

    assert result.returncode != 0
    assert f"add -c {ROOT}/gunicorn.conf.py" in result.stderr
    assert "Traceback" not in result.stderr


def test_attach_uses_a_running_pair_and_leaves_it_running(start_service: Start) -> None:
    owner = start_service(AX650_TOKENIZER_SECRET="the same for both")
    attached = start_service(
        AX650_RUNTIME="attach",
        AX650_RUNTIME_PORT=str(owner.runtime_port),
        AX650_TOKENIZER_PORT=str(owner.tokenizer_port),
        AX650_TOKENIZER_SECRET="the same for both",
    )
    answer = attached.post("/api/generate", {"model": "mock", "prompt": "hello", "stream": False})

    assert "hello" in answer.json()["response"]
    assert attached.health()["backend_type"] == "attach"
    assert attached.stop() == 0
    assert owner.ready()


def test_a_service_listens_long_before_its_model_is_loaded(start_service: Start) -> None:
    began = time.monotonic()
    service = start_service(wait=False, AX650_MOCK_ARGS="--load-seconds 60")
    eventually(service.listening)

    assert time.monotonic() - began < 50
    service.stop()
