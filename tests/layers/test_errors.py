"""An error knows its status and when to come back."""

import pytest

from axproxy import errors
from axproxy.errors import Busy, ClientGone, GaveUp, ProxyError, Starting


def kinds(root: type[ProxyError]) -> list[type[ProxyError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in kinds(child))]


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.ClientError, 400),
        (errors.UnknownModel, 404),
        (errors.PromptTooLong, 400),
        (errors.BodyTooLarge, 413),
        (errors.OptionOfWrongType, 500),
        (errors.Unavailable, 503),
        (errors.Starting, 503),
        (errors.Busy, 503),
        (errors.GaveUp, 503),
        (errors.RuntimeFault, 502),
        (errors.RuntimeGone, 502),
        (errors.RuntimeMisbehaved, 502),
        (errors.RuntimeStalled, 504),
        (errors.TokenizerGone, 503),
    ],
)
def test_whose_fault_it_is_shows_in_the_status(kind: type[ProxyError], status: int) -> None:
    assert kind("so it is").status_hint == status


def test_the_sentence_is_kept() -> None:
    error = Busy("the line is full")
    assert (error.message, str(error)) == ("the line is full", "the line is full")


def test_a_time_to_come_back_belongs_to_one_error_alone() -> None:
    assert Starting("in a while", retry_after=40).retry_after == 40
    assert Starting("soon").retry_after == 5


def test_there_is_no_time_to_come_back_where_an_operator_is_needed() -> None:
    assert GaveUp("mend it").retry_after is None


def test_only_what_passes_by_itself_is_worth_a_retry() -> None:
    worth = {kind for kind in kinds(ProxyError) if kind("").retry_after is not None}
    assert all(kind.status_hint == 503 for kind in worth)


def test_a_client_who_hung_up_is_no_error_to_tell_anyone() -> None:
    assert not issubclass(ClientGone, ProxyError)
