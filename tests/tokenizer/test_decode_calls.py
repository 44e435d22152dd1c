"""The ids of a run are a true prefix of what was sampled, and in the end all of it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axproxy.tokenizer.decode_calls import DecodeCall, DecodeCalls

# Few different ids, so that answers which repeat themselves are common.
answers = st.lists(st.integers(1, 3), min_size=1, max_size=14)


def vendor_calls(ids: list[int], *, stopped: bool) -> list[list[int]]:
    """Return the /decode calls of the vendor's program for one answer, as observed."""
    whole = len(ids) - len(ids) % 3
    groups = [ids[start : start + 3] for start in range(0, whole, 3)]
    rest = [ids[whole:]] if ids[whole:] and not stopped else []
    return [*groups, *rest, ids]


@settings(deadline=None)
@given(answers, st.booleans())
def test_the_ids_are_a_prefix_and_at_last_the_whole_answer(ids: list[int], stopped: bool) -> None:
    run = DecodeCalls(5, "sha")
    *before, final = vendor_calls(ids, stopped=stopped)
    for call in before:
        assert run.decoded(call) is DecodeCall.NEXT
        assert list(run.ids) == ids[: len(run.ids)]
        assert not run.complete
    run.decoded(final)
    assert list(run.ids) == ids
    ambiguous = len(ids) == 3 or (stopped and len(ids) < 3)
    assert (run.complete, run.undecided) == (not ambiguous, ambiguous)
    assert run.stopped == (stopped and len(ids) % 3 != 0)


@settings(deadline=None)
@given(answers, st.booleans())
def test_the_ids_lag_by_no_call_unless_undecided(ids: list[int], stopped: bool) -> None:
    run = DecodeCalls(5, "sha")
    heard = 0
    for call in vendor_calls(ids, stopped=stopped)[:-1]:
        run.decoded(call)
        heard += len(call)
        assert len(run.ids) == heard - (3 if run.undecided and heard > 3 else 0)


@settings(deadline=None)
@given(answers, st.booleans(), st.integers(1, 3))
def test_repeated_final_calls_change_nothing(ids: list[int], stopped: bool, times: int) -> None:
    run = DecodeCalls(5, "sha")
    for call in vendor_calls(ids, stopped=stopped):
        run.decoded(call)
    if run.complete:
        for _ in range(times):
            assert run.decoded(ids) is DecodeCall.FINAL
        assert list(run.ids) == ids
        assert run.complete


@settings(deadline=None)
@given(answers, st.booleans(), st.data())
def test_after_a_restart_in_mid_answer_only_the_final_list_counts(
    ids: list[int], stopped: bool, data: st.DataObject
) -> None:
    calls = vendor_calls(ids, stopped=stopped)
    run = DecodeCalls(0, "", from_start=False)
    for call in calls[data.draw(st.integers(0, len(calls) - 1)) : -1]:
        run.decoded(call)
        assert (list(run.ids), run.complete, run.undecided) == ([], False, False)
    run.decoded(ids)
    assert list(run.ids) == (ids if len(ids) > 3 else [])
    assert run.complete is (len(ids) > 3)


HISTORIES: dict[str, tuple[list[list[int]], list[int], bool, bool]] = {
    # name: (calls, ids, complete, undecided)
    "one token": ([[9], [9]], [9], True, False),
    "one token, stopped": ([[9]], [9], False, True),
    "three tokens": ([[1, 2, 3], [1, 2, 3]], [1, 2, 3], False, True),
    "a group twice is two groups": ([[5, 5, 5], [5, 5, 5], [5, 5, 5]], [5] * 9, False, False),
    "a group twice, then the rest": ([[5, 5, 5], [5, 5, 5], [6]], [5] * 6 + [6], False, False),
    "nothing": ([[]], [], False, False),
    "an empty call decides nothing": ([[1, 2, 3], [1, 2, 3], []], [1, 2, 3], False, True),
    "after the rest only all can follow": ([[1, 2, 3], [4], [7]], [1, 2, 3, 4], False, False),
    "after the end nothing follows": ([[1, 2, 3, 4], [7, 7, 7, 7]], [1, 2, 3, 4], True, False),
    "the final list is the truth": ([[1, 2, 3], [9, 8, 7, 6]], [9, 8, 7, 6], True, False),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_history(name: str) -> None:
    calls, ids, complete, undecided = HISTORIES[name]
    run = DecodeCalls(5, "sha")
    for call in calls:
        run.decoded(call)
    assert (list(run.ids), run.complete, run.undecided) == (ids, complete, undecided)


@settings(deadline=None)
@given(answers, st.booleans())
def test_the_calls_of_one_run_are_never_taken_for_another_programs(
    ids: list[int], stopped: bool
) -> None:
    run = DecodeCalls(5, "sha")
    for call in vendor_calls(ids, stopped=stopped):
        run.decoded(call)
    run.decoded(ids)  # the runtime repeats the final call if its reply is late
    assert not run.disturbed


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_another_programs_call_is_recognised_or_changes_nothing(data: st.DataObject) -> None:
    ids = data.draw(answers)
    calls = vendor_calls(ids, stopped=data.draw(st.booleans()))
    at = data.draw(st.integers(0, len(calls) - 1))
    sent = [id_ for call in calls[:at] for id_ in call]
    # Its own ids, or those of the run so far, more or less of them.
    forged = data.draw(st.one_of(answers, st.just(sent), st.just(ids[: len(sent) + 1])))
    run = DecodeCalls(5, "sha")
    for call in [*calls[:at], forged, *calls[at:]]:
        run.decoded(call)
    broken_off = not (run.complete or run.undecided)  # an error at the end of the run
    assert run.disturbed or broken_off or list(run.ids) == ids


def test_a_call_between_runs_disturbs_only_a_run_that_is_not_over() -> None:
    run = DecodeCalls(5, "sha")
    run.decoded([1, 2, 3])
    run.decoded([4])
    run.decoded([1, 2, 3, 4])
    run.interrupted()
    assert not run.disturbed
    run = DecodeCalls(5, "sha")
    run.interrupted()
    assert run.disturbed
