"""The worker as a process: what it says on its socket, and what ends it."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from axproxy.errors import CardFailed, PromptTooLong
from axproxy.runtimes.axengine.client import WorkerBusy, WorkerClient, WorkerInfo
from axproxy.runtimes.axengine.wire import LONGEST_LINE
from tests.support.axengine_models import FAKE, encoder, layered_model, write_table
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[3]
Worker = tuple[WorkerClient, subprocess.Popen[str], Path]
Start = Callable[..., Worker]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    begun: list[subprocess.Popen[str]] = []

    def run(folder: Path, *words: str, wait: bool = True, **environ: str) -> Worker:
        path = tmp_path / "worker"
        begun.append(
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "axproxy.runtimes.axengine", "--socket", str(path)),
                    *("--model-path", str(folder), "--provider", "board", *words),
                ],
                env={**os.environ, "PYTHONPATH": f"{FAKE}:{ROOT}", **environ},
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        if wait:
            eventually(path.exists)
        return WorkerClient(path), begun[-1], path

    yield run
    for process in begun:
        process.kill()
        process.communicate()


def tokens_of(client: WorkerClient, ids: list[int], most: int = 3) -> list[int]:
    with client.answer(ids, most, (), {"temperature": 0.0}) as reply:
        found = []
        while "end" not in (message := reply.next(10)):
            found += [message["token"]] if "token" in message else []
        return found


def test_it_tells_what_it_serves_on_a_socket_for_its_own_user_only(
    start: Start, tmp_path: Path
) -> None:
    client, process, path = start(layered_model(tmp_path / "model"))

    assert client.info() == WorkerInfo("AxEngineExecutionProvider", window=32, chunk=4)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert process.stdout
    lines = process.stdout.read().splitlines()
    assert lines[0] == "loaded 1 of 3: tiny_p4_l0_together.axmodel"
    assert lines[-1] == "serving with AxEngineExecutionProvider"


def test_one_answer_runs_at_a_time_and_leaving_frees_the_worker(
    start: Start, tmp_path: Path
) -> None:
    slow = layered_model(tmp_path / "model", faults={"run_seconds": 0.02})
    client, _, _ = start(slow)
    first = client.answer([1, 2, 3], 30, (), {"temperature": 0.0})
    assert "reused" in first.next(10)
    with client.answer([4], 1, (), {}) as second, pytest.raises(WorkerBusy):
        second.next(10)
    assert client.info().window == 32  # facts are told meanwhile
    first.close()

    def answers() -> bool:
        try:
            return len(tokens_of(client, [4, 5], 2)) == 2
        except WorkerBusy:
            return False

    eventually(answers)


def test_what_cannot_run_is_told_and_harms_nothing(start: Start, tmp_path: Path) -> None:
    client, process, path = start(layered_model(tmp_path / "model"))
    good = tokens_of(client, [1, 2, 3])
    for ids in ([], [1] * 33, [40], [-1], ["a"]):
        with pytest.raises(PromptTooLong):
            tokens_of(client, ids)
    with client.embed([[1]]) as reply, pytest.raises(PromptTooLong, match="cannot do that"):
        reply.next(10)
    for garbage in (
        b"\n",
        b"[]\n",
        b"{\n",
        b"\xff\n",
        b'{"do": []}\n',
        b"x" * (LONGEST_LINE // 64),
    ):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(str(path))
            stranger.sendall(garbage)

    assert tokens_of(client, [1, 2, 3]) == good
    assert process.poll() is None


def test_a_failure_of_the_card_is_told_as_such(start: Start, tmp_path: Path) -> None:
    client, _, _ = start(layered_model(tmp_path / "model", faults={"fail_at": 4}))
    with pytest.raises(CardFailed, match="axclrtEngineExecute failed"):
        tokens_of(client, [1, 2, 3])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "tiny_p4_l0_together.axmodel").unlink(), "layer 0 is missing"),
        (lambda folder: (folder / "tiny_post.axmodel").unlink(), "PyAXEngine needs"),
        (lambda folder: (folder / "tiny_post.axmodel").write_text("x"), "cannot be loaded"),
        (lambda folder: write_table(folder, raw=True), None),
        (
            lambda folder: (folder / "model.embed_tokens.weight.npy").rename(folder / "other"),
            "no table of embeddings",
        ),
    ],
)
def test_a_folder_that_does_not_fit_ends_with_a_sentence(
    start: Start, tmp_path: Path, spoil: Callable[[Path], Any], words: str | None
) -> None:
    folder = layered_model(tmp_path / "model")
    spoil(folder)
    if words is None:
        assert start(folder)[0].info().window == 32
        return
    _, process, _ = start(folder, wait=False)

    assert process.wait(20) == 1
    assert process.stdout
    assert words in process.stdout.read().splitlines()[-1]


def test_a_provider_without_its_library_is_named(start: Start, tmp_path: Path) -> None:
    folder = layered_model(tmp_path / "model")
    only_card = {"FAKE_AXENGINE_PROVIDERS": "AXCLRTExecutionProvider"}
    _, process, _ = start(folder, wait=False, **only_card)

    assert process.wait(20) == 1
    assert process.stdout
    assert "finds no library for AxEngineExecutionProvider" in process.stdout.read()


def test_without_the_library_it_says_how_to_get_it(start: Start, tmp_path: Path) -> None:
    folder = layered_model(tmp_path / "model")
    _, process, _ = start(folder, wait=False, PYTHONPATH=str(ROOT))

    assert process.wait(20) == 1
    assert process.stdout
    assert "--with-axengine WHEEL" in process.stdout.read()


def test_an_encoder_gives_the_row_of_the_first_token_made_one_long(
    start: Start, tmp_path: Path
) -> None:
    client, _, _ = start(encoder(tmp_path / "model"))

    assert client.info().places == 16
    with client.embed([[101, 7, 102], [101, 8, 102]]) as reply:
        first, second = reply.next(10)["vectors"]
    assert sum(value**2 for value in first) == pytest.approx(1.0)
    assert first != second
    with client.embed([[1] * 17]) as reply, pytest.raises(PromptTooLong, match="at most 16"):
        reply.next(10)
    with client.answer([1], 1, (), {}) as reply, pytest.raises(PromptTooLong):
        reply.next(10)
