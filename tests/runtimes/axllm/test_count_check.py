"""The margin by which a count may be too low, and what runs teach about it."""

from __future__ import annotations

import logging

import pytest

from axproxy.prompts.fitting import Window
from axproxy.runtimes.axllm.count_check import CountCheck

WINDOW = Window(2559, 2048)


def test_an_unconfirmed_count_keeps_a_margin_and_a_confirmed_one_needs_none() -> None:
    check = CountCheck("Qwen3-4B", exact=True)
    assert check.margin(1000) == 36
    assert check.narrowed(WINDOW).prefill_limit < 2048 - 36

    check.compare(1000, 1000)
    assert check.margin(1000) == 0
    assert check.narrowed(WINDOW) == WINDOW


def test_an_estimate_keeps_its_margin_whatever_one_run_says() -> None:
    check = CountCheck("MiniCPM5-1B", exact=False)
    before = check.margin(1000)
    check.compare(1000, 1000)

    assert check.margin(1000) == before >= 150


def test_a_difference_is_logged_once_with_the_models_name_and_widens_the_margin(
    caplog: pytest.LogCaptureFixture,
) -> None:
    check = CountCheck("Qwen2.5-7B", exact=True)
    with caplog.at_level(logging.WARNING):
        check.compare(10, 31)
        check.compare(50, 71)

    assert [record.message for record in caplog.records] == [
        "Qwen2.5-7B read a prompt of 31 tokens where 10 were counted; the margin is now 21"
    ]
    assert check.margin(2000) == 21
    check.compare(1000, 1100)
    assert check.margin(2000) == 200


def test_a_count_that_was_too_high_needs_no_wider_margin() -> None:
    check = CountCheck("Qwen3-4B", exact=True)
    check.compare(100, 90)

    assert check.margin(1000) == 0


def test_zeros_of_an_old_program_show_nothing() -> None:
    check = CountCheck("Qwen3-4B", exact=True)
    before = check.margin(500)
    check.compare(500, 0)

    assert check.margin(500) == before
