"""How many tokens fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axmock.kv_cache import Chunks, Fate, KvCache, Shape

SMALL = Shape(layers=4, chunk=128, prefill_limit=896, max_tokens=1023, kv_cache_size=16)
LARGE = Shape(layers=36, chunk=128, prefill_limit=2048, max_tokens=2559, kv_cache_size=1024)


def with_cached(tokens: int, shape: Shape = SMALL) -> KvCache:
    kv = KvCache(shape)
    kv.reset(tokens)
    return kv


def test_groups_are_one_then_every_chunk_up_to_the_limit() -> None:
    assert SMALL.groups == (1, 128, 256, 384, 512, 640, 768, 896)
    assert len(LARGE.groups) == 17


# name: (shape, cached tokens, new tokens, accepted)
TURNS = {
    "system prompt 13, just fits": (SMALL, 13, 768, True),
    "system prompt 13, one too many": (SMALL, 13, 769, False),
    "follow-up behind 766": (SMALL, 766, 128, True),
    "follow-up behind 768": (SMALL, 768, 1, True),
    "nothing fits behind 769": (SMALL, 769, 1, False),
    "less than a chunk of room": (SMALL, 728, 129, False),
    "default system prompt of a 4B model": (LARGE, 21, 1920, True),
    "default system prompt, one too many": (LARGE, 21, 1921, False),
}


@pytest.mark.parametrize("name", TURNS)
def test_a_turn_fits_whole_chunks_of_what_the_cache_leaves(name: str) -> None:
    shape, cached, new, accepted = TURNS[name]

    verdict = with_cached(cached, shape).admit(new)

    assert (verdict.refusal is None) == accepted
    assert verdict.fate is Fate.LIVES


@given(st.integers(1, 900), st.integers(0, 1000))
def test_a_turn_is_accepted_exactly_up_to_the_documented_limit(cached: int, new: int) -> None:
    limit = max(0, (896 - cached) // 128 * 128)

    assert (with_cached(cached).admit(new).refusal is None) == (
        new <= limit and cached + new <= 896 and cached <= 896
    )


# name: (new tokens, a group was chosen before, fate)
FIRST_PROMPTS = {
    "fits exactly": (896, False, Fate.LIVES),
    "one too many": (897, False, Fate.SEGFAULT),
    "last one seen to segfault": (1025, False, Fate.SEGFAULT),
    "first one seen to abort": (1100, False, Fate.ABORT),
    "after an earlier turn": (897, True, Fate.LATE_ABORT),
}


@pytest.mark.parametrize("name", FIRST_PROMPTS)
def test_a_prompt_that_is_too_long_for_an_empty_cache_kills_the_process(name: str) -> None:
    new, chosen_before, fate = FIRST_PROMPTS[name]
    kv = KvCache(SMALL)
    if chosen_before:
        kv.admit(5)
        kv.reset(0)

    verdict = kv.admit(new)

    assert (verdict.fate, verdict.refusal, verdict.first_run) == (fate, None, True)


def test_a_refusal_shrinks_the_room_and_a_reset_restores_it() -> None:
    kv = with_cached(13)

    assert [kv.admit(769).room, kv.admit(24).room] == [768, 640]
    kv.reset(13)
    assert kv.admit(768).refusal is None


def test_a_success_restores_the_room() -> None:
    kv = with_cached(13)
    kv.admit(24)
    kv.decoded_at(40)
    kv.settle()

    assert kv.admit(24).room == 768


def test_the_two_refusals_have_the_vendors_words() -> None:
    assert (
        with_cached(900).admit(1).refusal
        == "precompute_len(900) + input_num_token(1) > _attr.prefill_max_kv_cache_num_grp[-2]"
    )
    assert (
        with_cached(13).admit(769).refusal
        == "input_num_token(769) > _attr.prefill_max_token_num(768)"
    )


def test_after_an_answer_the_cache_ends_at_the_last_position_decoded() -> None:
    kv = KvCache(SMALL)
    kv.admit(11)
    for position in range(11, 23):
        kv.decoded_at(position)

    assert (kv.settle(), kv.cached) == (873, 23)


def test_at_the_limit_what_remains_is_negative() -> None:
    kv = KvCache(SMALL)
    kv.admit(700)
    kv.decoded_at(1022)

    assert (kv.settle(), kv.cached) == (-127, 1023)


def test_a_run_without_a_decode_step_takes_the_length_of_an_older_run() -> None:
    kv = KvCache(SMALL)
    kv.admit(300)
    kv.decoded_at(379)  # conversation A: 300 tokens and a reply of 80
    kv.settle()
    kv.reset(0)
    kv.admit(600)  # conversation B, stopped in prefill

    kv.settle()

    assert kv.cached == 380


def test_a_new_process_has_no_older_length_to_take() -> None:
    kv = with_cached(3)
    kv.admit(600)

    kv.settle()

    assert kv.cached == 3


# tokens: (group, chunks, lives)
RESETS = {
    0: (1, 0, True),
    1: (1, 1, True),
    2: (2, 1, True),
    128: (2, 1, True),
    129: (3, 2, True),
    896: (8, 7, True),
    900: (8, 8, True),
    2000: (8, 16, False),
}


@pytest.mark.parametrize("tokens", RESETS)
def test_a_reset_checks_nothing_and_crashes_only_far_beyond_the_limit(tokens: int) -> None:
    group, chunks, lives = RESETS[tokens]

    plan = KvCache(SMALL).reset(tokens)

    assert (plan.group_id, len(plan.chunks.sizes)) == (group, chunks)
    assert (plan.fate is Fate.LIVES) == lives


def test_after_a_too_long_system_prompt_every_turn_is_refused() -> None:
    kv = with_cached(900)

    assert kv.admit(0).refusal is not None
    assert kv.admit(5).refusal is not None


@given(st.integers(0, 3000), st.sampled_from([128, 256]))
def test_all_chunks_but_the_last_are_full(tokens: int, chunk: int) -> None:
    sizes = Chunks.of(tokens, chunk).sizes

    assert sum(sizes) == tokens
    assert all(size == chunk for size in sizes[:-1])
    assert all(0 < size <= chunk for size in sizes[-1:])
