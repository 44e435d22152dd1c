"""Pulling a model from a hub on loopback that has every fault that a real one can have."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from axproxy.models import download
from axproxy.models.hub import Hub
from axproxy.models.pull import PULLS, Programs, Pulls
from axproxy.models.pull_progress import PullFailed, PullProgress
from axproxy.models.store import RECORD, ModelStore
from axproxy.settings import Settings
from tests.support.hub import FakeHub
from tests.support.model_folders import axllm_model
from tests.support.waiting import eventually

NAME = "qwen3:0.6b"
FOLDER = "Qwen3-0.6B"
BIG = "qwen3_p128_l0_together.axmodel"


@pytest.fixture(name="hub")
def serving_hub(tmp_path: Path) -> Iterator[FakeHub]:
    hub = FakeHub()
    published = axllm_model(tmp_path / "published", tokens_embed_num=4, tokens_embed_size=1024)
    (published / "model.embed_tokens.weight.bfloat16.bin").write_bytes(b"e" * 8192)
    hub.files = {file.name: file.read_bytes() for file in published.iterdir()}
    hub.files[BIG] = bytes(range(256)) * 40
    hub.files |= {"README.md": b"read me", "demo.py": b"import os", ".gitattributes": b"lfs"}
    with hub.serving():
        yield hub


@pytest.fixture(name="place")
def store_folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


def pulls(hub: FakeHub, place: Path, token: str | None = None) -> Pulls:
    return Pulls(place, lambda: Hub(hub.url, token), lambda: Programs(True, True), lambda *_: 0.0)


def pull(
    hub: FakeHub, place: Path, name: str = NAME, token: str | None = None
) -> list[PullProgress]:
    return list(pulls(hub, place, token).pull(name))


def refusal(hub: FakeHub, place: Path, name: str = NAME) -> str:
    with pytest.raises(PullFailed) as error:
        pull(hub, place, name)
    assert not [folder for folder in place.glob("*") if folder.name != PULLS]
    return str(error.value)


def arrived(place: Path, folder: str = FOLDER) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (place / folder).iterdir()}


def needed(hub: FakeHub) -> dict[str, bytes]:
    extra = ("README.md", "demo.py", ".gitattributes")
    return {path: content for path, content in hub.files.items() if path not in extra}


def test_a_pulled_model_has_the_files_that_it_needs_and_its_name(hub: FakeHub, place: Path) -> None:
    last = pull(hub, place)[-4:]
    files = arrived(place)
    record = json.loads(files.pop(RECORD))
    assert files == needed(hub)
    assert record["commit"] == hub.commit
    (model,) = ModelStore(Settings(runtime="vendor"), place).models()
    assert (model.name, model.digest) == (NAME, record["digest"])
    assert [each.status for each in last[1:]] == [
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    size = sum(map(len, needed(hub).values()))
    assert last[0] == PullProgress(f"pulling {record['digest'][:12]}", record["digest"], size, size)


def test_a_model_that_is_here_is_not_downloaded_again(hub: FakeHub, place: Path) -> None:
    pull(hub, place)
    hub.requests.clear()
    assert pull(hub, place)[-1].status == "success"
    assert not hub.asked_for("/resolve/")


def test_an_update_fetches_only_what_has_changed(hub: FakeHub, place: Path) -> None:
    pull(hub, place, f"AXERA-TECH/{FOLDER}")
    hub.requests.clear()
    hub.commit = "d" * 40
    hub.files["post_config.json"] = b'{"new": true}'
    assert pull(hub, place, f"AXERA-TECH/{FOLDER}")[-1].status == "success"
    assert hub.asked_for("/resolve/") == 1
    files = arrived(place)
    assert files["post_config.json"] == b'{"new": true}'
    assert files[BIG] == hub.files[BIG]
    assert not (place / PULLS / f"{FOLDER}.old").exists()


def test_a_connection_that_breaks_off_goes_on_where_it_was(hub: FakeHub, place: Path) -> None:
    hub.files[BIG] *= 40
    hub.files["model.embed_tokens.weight.bfloat16.bin"] = b"e" * 900  # so that it is not cut
    hub.cut = [100_000, 150_000]
    pull(hub, place)
    assert arrived(place)[BIG] == hub.files[BIG]
    assert hub.ranges() == ["bytes=65536-", "bytes=196608-"]


def test_a_pull_that_was_killed_goes_on_where_it_was(hub: FakeHub, place: Path) -> None:
    part = place / PULLS / FOLDER / f"{BIG}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(hub.files[BIG][:4000])
    (part.parent / "of_an_older_commit.bin").write_bytes(b"old")
    pull(hub, place)
    assert hub.ranges() == ["bytes=4000-"]
    assert arrived(place).keys() == {*needed(hub), RECORD}
    assert arrived(place)[BIG] == hub.files[BIG]


def test_a_part_of_another_content_is_found_and_fetched_again(hub: FakeHub, place: Path) -> None:
    part = place / PULLS / FOLDER / f"{BIG}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 4000)
    pull(hub, place)
    assert arrived(place)[BIG] == hub.files[BIG]


@pytest.mark.parametrize("length", [len(bytes(range(256)) * 40), 999_999])
def test_a_part_that_is_complete_or_too_long_is_checked(
    hub: FakeHub, place: Path, length: int
) -> None:
    part = place / PULLS / FOLDER / f"{BIG}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes((hub.files[BIG] * 100)[:length])
    pull(hub, place)
    assert arrived(place)[BIG] == hub.files[BIG]


def test_a_hub_that_ignores_ranges_sends_the_file_from_its_beginning(
    hub: FakeHub, place: Path
) -> None:
    hub.ignore_ranges = True
    hub.cut = [3000]
    pull(hub, place)
    assert arrived(place)[BIG] == hub.files[BIG]


def test_a_hub_that_refuses_the_rest_of_a_file_sends_it_from_its_beginning(
    hub: FakeHub, place: Path
) -> None:
    part = place / PULLS / FOLDER / f"{BIG}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(hub.files[BIG][:4000])
    hub.status = {BIG: [416]}
    pull(hub, place)
    assert hub.ranges() == ["bytes=4000-"]
    assert arrived(place)[BIG] == hub.files[BIG]


def test_a_file_that_is_another_one_meanwhile_is_sent_from_its_beginning(
    hub: FakeHub, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = place / PULLS / FOLDER / f"{BIG}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"of another commit" * 99)
    monkeypatch.setattr(hub, "etag", lambda _content: '"another"')  # If-Range does not fit
    pull(hub, place)
    assert arrived(place)[BIG] == hub.files[BIG]


def test_a_hub_that_sends_nothing_more_is_left_and_asked_again(
    hub: FakeHub, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("axproxy.models.hub.STALL", 0.2)
    hub.stall = [5000]
    pull(hub, place)
    assert arrived(place)[BIG] == hub.files[BIG]
    assert hub.asked_for("/resolve/") == len(needed(hub)) + 1


def test_a_damaged_file_is_fetched_once_more(hub: FakeHub, place: Path) -> None:
    hub.corrupt = Counter({BIG: 1, "config.json": 1})
    pull(hub, place)
    assert {path: arrived(place)[path] for path in needed(hub)} == needed(hub)


@pytest.mark.parametrize("path", [BIG, "config.json"])
def test_a_file_that_is_damaged_twice_ends_the_pull(hub: FakeHub, place: Path, path: str) -> None:
    hub.corrupt = Counter({path: 2})
    assert refusal(hub, place) == (
        f"{path} arrived damaged twice; the hub may be broken: try later"
    )


def test_a_pointer_of_git_lfs_in_place_of_a_file_is_recognised(hub: FakeHub, place: Path) -> None:
    hub.pointers = True
    assert "may hold pointers of Git LFS" in refusal(hub, place)


@pytest.mark.parametrize("part", ["/revision/", "/tree/", BIG])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_hub_is_asked_again(hub: FakeHub, place: Path, part: str, status: int) -> None:
    hub.status = {part: [status, status]}
    pull(hub, place)
    assert arrived(place)[BIG] == hub.files[BIG]


def test_the_hubs_own_wish_says_how_long_to_wait() -> None:
    assert download.pause_after(1, None) == 1
    assert download.pause_after(4, 2.0) == 8
    assert download.pause_after(1, 30.0) == 30
    assert download.pause_after(99, 9e9) == 600


def test_a_hub_that_never_recovers_ends_the_pull_and_what_has_arrived_stays(
    hub: FakeHub, place: Path
) -> None:
    hub.status = {BIG: [503] * 99}
    assert "answered with status 503; what has arrived is kept" in refusal(hub, place)
    assert list((place / PULLS / FOLDER).glob("config.json"))


@pytest.mark.parametrize(
    ("status", "sentence"),
    [(401, "set HF_TOKEN"), (403, "accept its licence"), (404, "has no AXERA-TECH/Qwen3-0.6B at")],
)
def test_what_the_hub_refuses_is_not_asked_again(
    hub: FakeHub, place: Path, status: int, sentence: str
) -> None:
    hub.status = {"/revision/": [status] * 9}
    assert sentence in refusal(hub, place)
    assert len(hub.requests) == 1


def test_a_hub_that_cannot_be_reached_is_named(place: Path) -> None:
    with FakeHub().serving() as hub:
        pass
    assert f"{hub.url[7:]} cannot be reached" in refusal(hub, place)


def test_the_installed_service_says_that_it_may_not_reach_the_hub(place: Path) -> None:
    with FakeHub().serving() as hub:
        pass
    environ = {"HF_ENDPOINT": hub.url, "INVOCATION_ID": "0" * 32}
    confined = Pulls(
        place, lambda: Hub.from_env(environ), lambda: Programs(True, True), lambda *_: 0.0
    )
    with pytest.raises(PullFailed, match="sudo ax650 pull"):
        list(confined.pull(NAME))


def test_large_files_come_from_another_host_which_never_gets_the_token(
    hub: FakeHub, place: Path
) -> None:
    other = FakeHub()
    other.files = hub.files
    hub.redirect_to = other
    with other.serving():
        pull(hub, place, token="s3cret")
    assert arrived(place)[BIG] == hub.files[BIG]
    assert all(headers["Authorization"] == "Bearer s3cret" for _, headers in hub.requests)
    assert other.requests
    assert not any("Authorization" in headers for _, headers in other.requests)


def test_a_list_that_never_ends_fills_no_memory(
    hub: FakeHub, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("axproxy.models.hub._LARGEST_LIST", 500)
    assert "larger than any list of files" in refusal(hub, place)


def test_a_list_in_pages_is_read_to_its_end(hub: FakeHub, place: Path) -> None:
    hub.page = 2
    pull(hub, place)
    assert {path: arrived(place)[path] for path in needed(hub)} == needed(hub)


@pytest.mark.parametrize("path", ["../evil.bin", "a/../../evil.bin", "/etc/evil.bin", "a//b.bin"])
def test_no_file_gets_out_of_the_models_folder(hub: FakeHub, place: Path, path: str) -> None:
    hub.files[path] = b"evil"
    assert "unsafe name" in refusal(hub, place)
    assert not hub.asked_for("/resolve/")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("AXERA-TECH/Qwen3-0.6B-AX630C", "is a build for another chip, the AX630C"),
        ("llama3", "'llama3' is not a model that is known here; try"),
        ("a/b/c", "is not a model that is known here"),
        ("AXERA-TECH/..", "is not a model that is known here"),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_byte(
    hub: FakeHub, place: Path, name: str, sentence: str
) -> None:
    assert sentence in refusal(hub, place, name)
    assert not hub.asked_for("/resolve/")


def test_a_model_for_main_api_needs_that_program_and_gets_its_own(
    hub: FakeHub, place: Path
) -> None:
    del hub.files["config.json"]
    poor = Pulls(place, lambda: Hub(hub.url), lambda: Programs(False, False), lambda *_: 0.0)
    with pytest.raises(
        PullFailed, match="neither in it nor on this machine; set AX650_RUNTIME_BIN"
    ):
        list(poor.pull(NAME))
    hub.files["main_api_axcl_aarch64"] = b"\x7fELF" * 30_000
    list(poor.pull(NAME))
    program = place / FOLDER / "main_api_axcl_aarch64"
    assert os.access(program, os.X_OK)


def test_a_model_for_axllm_needs_that_program(hub: FakeHub, place: Path) -> None:
    poor = Pulls(place, lambda: Hub(hub.url), lambda: Programs(True, False), lambda *_: 0.0)
    with pytest.raises(PullFailed, match="needs the program axllm, which is not on this machine"):
        list(poor.pull(NAME))


def test_a_repository_without_a_model_is_refused(hub: FakeHub, place: Path) -> None:
    hub.files = {"config.json": b"{}", "model.safetensors": b"x"}
    assert "holds no *.axmodel files" in refusal(hub, place)


def test_a_folder_of_the_owners_is_never_overwritten(hub: FakeHub, place: Path) -> None:
    mine = place / FOLDER / "mine"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(PullFailed, match="exists and was not pulled"):
        pull(hub, place)
    assert mine.read_text() == "mine"


def test_a_disk_without_room_is_known_before_the_first_byte(
    hub: FakeHub, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_RESERVE", 1 << 60)
    assert "make room, or set AX650_MODELS_DIR" in refusal(hub, place)
    assert not hub.asked_for("/resolve/")


def test_a_disk_that_becomes_full_ends_the_pull_at_once(
    hub: FakeHub, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert refusal(hub, place).endswith("is full; make room and pull again")


def test_a_second_caller_joins_and_the_pull_goes_on_when_the_first_leaves(
    hub: FakeHub, place: Path
) -> None:
    hub.pause = 0.02
    shared = pulls(hub, place)
    first = shared.pull(NAME)
    next(first)
    next(first)
    seen: list[PullProgress] = []
    second = threading.Thread(target=lambda: seen.extend(shared.pull(NAME)))
    second.start()
    eventually(lambda: bool(seen))
    first.close()
    second.join(30)
    assert seen[-1].status == "success"
    assert hub.asked_for(f"/resolve/{hub.commit}/{BIG}") == 1


def test_a_pull_that_no_client_watches_stops_and_goes_on_later(hub: FakeHub, place: Path) -> None:
    hub.pause = 0.05
    shared = pulls(hub, place)
    watched = shared.pull(NAME)
    eventually(lambda: next(watched).completed > 2000)
    watched.close()
    hub.pause = 0.0
    assert [each.status for each in shared.pull(NAME)][-1] == "success"
    assert arrived(place)[BIG] == hub.files[BIG]


def test_pulls_of_different_models_follow_each_other(hub: FakeHub, place: Path) -> None:
    hub.pause = 0.01
    shared = pulls(hub, place)
    seen: list[PullProgress] = []
    first = threading.Thread(target=lambda: list(shared.pull(NAME)))
    first.start()
    eventually(lambda: bool(hub.requests))
    seen.extend(shared.pull("AXERA-TECH/Another"))
    first.join(30)
    assert "waiting for another download to end" in {each.status for each in seen}
    assert seen[-1].status == "success"
    assert arrived(place, "Another")[BIG] == hub.files[BIG]


def test_a_pull_waits_for_that_of_another_program(hub: FakeHub, place: Path) -> None:
    mine, theirs = pulls(hub, place), pulls(hub, place)
    hub.pause = 0.02
    begun = theirs.pull(NAME)
    eventually(lambda: next(begun).completed > 0)
    waiting = mine.pull(NAME)
    eventually(lambda: next(waiting).status == "waiting for a download of another program")
    list(begun)
    assert list(waiting)[-1].status == "success"


def test_progress_never_goes_backwards_and_ends_at_the_total(hub: FakeHub, place: Path) -> None:
    hub.pause, hub.cut = 0.005, [3000]
    seen = [each.completed for each in pull(hub, place) if each.total]
    assert seen == sorted(seen)
    assert seen[-1] == sum(map(len, needed(hub).values()))
