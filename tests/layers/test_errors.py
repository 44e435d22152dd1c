"""Each error has its status and, if a retry makes sense, its Retry-After."""

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
def test_the_status_shows_whose_fault_it_is(kind: type[ProxyError], status: int) -> None:
    assert kind("a sentence").status_hint == status


def test_the_message_is_kept() -> None:
    error = Busy("the queue is full")
    assert (error.message, str(error)) == ("the queue is full", "the queue is full")


def test_retry_after_belongs_to_one_error_only() -> None:
    assert Starting("in a while", retry_after=40).retry_after == 40
    assert Starting("soon").retry_after == 5


def test_an_error_that_needs_an_operator_has_no_retry_after() -> None:
    assert GaveUp("fix it").retry_after is None


def test_only_a_503_has_a_retry_after() -> None:
    temporary = {kind for kind in kinds(ProxyError) if kind("").retry_after is not None}
    assert all(kind.status_hint == 503 for kind in temporary)


def test_an_error_is_transient_where_a_retry_helps_without_an_operator() -> None:
    lasting = {kind for kind in kinds(ProxyError) if not kind.transient}
    assert {errors.GaveUp, errors.BadTemplate, errors.Unavailable, errors.PromptTooLong} <= lasting
    assert lasting.isdisjoint(
        {Busy, Starting, errors.Restarting, errors.Stopping, errors.RuntimeGone}
        | {errors.RuntimeStalled, errors.TokenizerGone, errors.CardFailed}
    )


def test_a_client_that_hung_up_gets_no_error() -> None:
    assert not issubclass(ClientGone, ProxyError)
