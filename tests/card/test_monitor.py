"""The card in /health: never too old, and never read during a load."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.card.monitor import RELEASE_TIMEOUT, CardMonitor, MemoryRelease
from axproxy.card.smi import AxclSmi, Reading
from axproxy.card.smi_table import NoTable, Reason, read_table
from axproxy.health import CardHealth
from tests.support import fake_axcl_smi as fake
from tests.support.waiting import eventually

NOTHING = CardHealth()

Begin = Callable[..., CardMonitor]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    monkeypatch.setattr("axproxy.card.monitor.POLL_INTERVAL_RELEASE", 0.02)
    started: list[CardMonitor] = []

    def begin(scenario: str = "idle", device: str = "auto", interval: float = 900) -> CardMonitor:
        smi = AxclSmi(fake.install(tmp_path, scenario), clock=clock, timeout=5.0)
        started.append(CardMonitor(smi, device, clock=clock, interval=interval))
        started[-1].start()
        eventually(lambda: smi.last)
        return started[-1]

    yield begin
    for monitor in started:
        monitor.stop()


@pytest.mark.parametrize(
    ("scenario", "device", "values"),
    [
        ("idle", "auto", (41, 7040, 18, 0)),
        ("two", "auto", (37, 7040, 6348, 35)),
        ("two", "1", (38, 7040, 18, 0)),
        ("two", "0,1", (38, 14080, 6366, 35)),
        ("second", "auto", (41, 7040, 18, 0)),
        ("idle", "7", (None, None, None, None)),
        ("silent", "auto", (None, None, None, None)),
        ("rowless", "auto", (None, None, None, None)),
        ("garbage", "auto", (None, None, None, None)),
    ],
)
def test_health_shows_the_card_in_use(
    watch: Begin, scenario: str, device: str, values: tuple[int | None, ...]
) -> None:
    monitor = watch(scenario, device)

    eventually(lambda: monitor.device_health() == CardHealth(*values))


def test_old_values_are_not_shown(watch: Begin, clock: Clock) -> None:
    monitor = watch()
    eventually(lambda: monitor.device_health() != NOTHING)
    clock.now += 3 * 900
    assert monitor.device_health().temperature_c == 41
    clock.now += 1
    assert monitor.device_health() == NOTHING


def test_a_busy_tool_changes_nothing_and_a_lost_card_shows_at_once(
    watch: Begin, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("axproxy.card.smi.BUSY_RETRY_DELAY", 0.0)
    monitor = watch(interval=0.05)
    eventually(lambda: monitor.device_health() != NOTHING)

    def seen(reason: str) -> bool:
        clock.now += 0.1  # or the cached reading is returned
        return getattr(monitor.smi.last.result, "reason", None) == reason

    (tmp_path / "scenario").write_text("busy")
    monkeypatch.setattr("axproxy.card.monitor.MAX_AGE_INTERVALS", 1e9)
    eventually(lambda: seen("busy"))
    assert monitor.device_health().temperature_c == 41
    (tmp_path / "scenario").write_text("dead")
    eventually(lambda: seen("dead"))
    eventually(lambda: monitor.device_health() == NOTHING)


def test_a_monitor_that_was_not_started_knows_nothing_and_delays_nothing() -> None:
    monitor = CardMonitor(AxclSmi(Path("/no/such/axcl-smi")))
    monitor.begin_load()
    monitor.runtime_ended(77)

    assert monitor.device_health() == NOTHING
    assert monitor.blocked_by() is None
    assert monitor.tool_number == 0
    monitor.stop()


def test_a_reading_that_fails_does_not_end_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    smi = AxclSmi(Path("/no/such/axcl-smi"))
    failures = [ValueError("filedescriptor out of range in select()")]
    read = smi.read

    def read_or_fail(max_age: float) -> Reading | None:
        if failures:
            raise failures.pop()
        return read(max_age)

    monkeypatch.setattr(smi, "read", read_or_fail)
    monitor = CardMonitor(smi, interval=0.01)
    monitor.start()
    eventually(lambda: smi.last)
    monitor.stop()

    assert not failures
    assert not monitor._thread.is_alive()


def test_the_next_start_waits_until_the_card_shows_free_memory(
    watch: Begin, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monitor = watch()
    monitor.begin_load()
    monitor.end_load()
    (tmp_path / "scenario").write_text("leaked")
    clock.now += 60
    monitor.runtime_ended(84643)

    def blocked_by() -> str | None:
        clock.now += 0.01
        return monitor.blocked_by()

    assert "waiting for the card" in (blocked_by() or "")
    eventually(lambda: "more than 274 MiB are in use" in (blocked_by() or ""))
    (tmp_path / "scenario").write_text("idle")
    with caplog.at_level("INFO", "card"):
        eventually(lambda: blocked_by() is None)
    assert "the card was free" in caplog.text


def test_a_card_that_stays_full_is_used_anyway_with_a_warning(
    watch: Begin, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monitor = watch()
    (tmp_path / "scenario").write_text("loaded")
    clock.now += 1
    monitor.runtime_ended(84643)
    eventually(lambda: "still lists" in (monitor.blocked_by() or ""))
    clock.now += 60

    assert monitor.blocked_by() is None
    assert "still lists the runtime that has ended (pid 84643); starting the runtime anyway" in (
        caplog.text
    )


@pytest.mark.parametrize(("scenario", "number"), [("idle", 0), ("old", 129), ("second", 1)])
def test_the_recovery_steps_number_the_card_as_the_tool_does(
    watch: Begin, scenario: str, number: int
) -> None:
    assert watch(scenario).tool_number == number


def test_the_recovery_steps_number_the_card_whose_bus_the_runtime_names(watch: Begin) -> None:
    monitor = watch("two")
    assert monitor.number_of("device 3 is dead") == 1
    assert monitor.number_of("device 1 is dead") == 0
    assert monitor.number_of("device 7 is dead") == monitor.tool_number
    assert monitor.number_of(None) == monitor.tool_number


@pytest.mark.parametrize(
    ("reason", "delay"), [("hung", 60.0), ("dead", 15.0), ("missing", 15.0), ("busy", 15.0)]
)
def test_a_tool_that_hangs_is_called_less_often(reason: Reason, delay: float) -> None:
    monitor = CardMonitor(AxclSmi(Path("/no/such/axcl-smi")))

    assert monitor._delay_after(Reading(NoTable(reason, "a message"), 1.0, 2.0)) == delay


def test_the_card_is_polled_often_until_its_memory_is_free_but_not_for_ever(clock: Clock) -> None:
    monitor = CardMonitor(AxclSmi(Path("/no/such/axcl-smi")), clock=clock)
    monitor._release = MemoryRelease(84643, clock.now, before_mb=18)
    clock.now += 2
    full, free = (
        Reading(read_table(fake.scenario(name, 84643)), clock.now, clock.now)
        for name in ("loaded", "idle")
    )

    assert monitor._delay_after(full) == 1.0
    assert monitor._delay_after(free) == 15.0  # although no start is waiting
    clock.now += 60
    assert monitor._delay_after(full) == 15.0


ENDED = 100.0
RELEASE = MemoryRelease(pid=84643, since=ENDED, before_mb=18)


def reading(scenario: str, begun: float = ENDED + 1, pid: int = 84643) -> Reading:
    return Reading(read_table(fake.scenario(scenario, pid)), begun, begun + 0.5)


@pytest.mark.parametrize(
    ("seen", "waiting_for"),
    [
        (None, "waiting for the card"),
        (reading("idle", begun=ENDED - 0.1), "waiting for the card"),  # begun too early
        (reading("loaded"), "still lists the runtime"),
        (reading("leaked"), "more than 274 MiB are in use, 18 MiB were before it"),
        (reading("loaded", pid=5), "more than 274 MiB"),
        (reading("busy"), "cannot see yet"),
        (reading("idle"), None),
        (reading("driverless"), None),
        (reading("dead"), None),
        (Reading(NoTable("hung", "no answer"), ENDED + 1, ENDED + 11), "cannot see yet"),
        (Reading(NoTable("missing", "no program"), ENDED + 1, ENDED + 1), None),
    ],
)
def test_a_start_waits_until_the_memory_is_free(
    seen: Reading | None, waiting_for: str | None
) -> None:
    pending = RELEASE.waiting_for(seen, ENDED + 12)

    assert (waiting_for or "") in (pending or "")
    assert bool(pending) == bool(waiting_for)


def test_without_the_memory_used_before_only_the_pid_decides() -> None:
    release = MemoryRelease(84643, ENDED, before_mb=None)

    assert release.waiting_for(reading("loaded"), ENDED + 2)
    assert release.waiting_for(reading("loaded", pid=5), ENDED + 2) is None


def test_the_wait_is_limited_and_then_warns() -> None:
    late = ENDED + RELEASE_TIMEOUT

    assert RELEASE.waiting_for(reading("loaded"), late) is None
    assert "still lists" in (RELEASE.still_held(reading("loaded"), late) or "")
    assert RELEASE.still_held(reading("idle"), late) is None
    assert RELEASE.still_held(reading("loaded"), ENDED + 1) is None


@given(
    st.none() | st.text(max_size=80).map(lambda text: Reading(read_table(text), ENDED + 1, ENDED)),
    st.floats(0, 1000),
)
def test_no_output_makes_a_start_wait_for_ever(seen: Reading | None, waited: float) -> None:
    assert waited < RELEASE_TIMEOUT or RELEASE.waiting_for(seen, ENDED + waited) is None
