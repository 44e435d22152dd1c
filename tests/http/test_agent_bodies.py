"""Whatever is sent to `/v1/responses` and `/v1/messages`, the answer is JSON in their shape."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.settings import Settings
from backend import create_app
from tests.fakes import CARD, FakeEngine

APP = create_app(
    Settings(),
    FakeEngine(the_card=replace(CARD, capabilities=("completion", "tools", "thinking"))),
)

KINDS = (
    "message text input_text output_text input_image input_file image document thinking reasoning "
    "function_call function_call_output tool_use tool_result function base64 enabled json_schema"
)
NAMES = (
    "role content type text name id input arguments call_id output summary thinking source data "
    "tool_use_id is_error schema parameters input_schema effort format encrypted_content image_url"
)
words = st.sampled_from(f"{KINDS} user assistant system {{}} \ud800 high".split())
values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES.split()), inner, max_size=5)
    ),
    max_leaves=15,
)
FIELDS = (
    "input instructions messages system tools tool_choice text reasoning thinking output_config "
    "temperature top_k stop_sequences max_output_tokens stream truncation"
)
bodies: Any = st.fixed_dictionaries(
    {"model": st.just(CARD.name), "max_tokens": st.just(9)},
    optional=dict.fromkeys(FIELDS.split(), values),
)


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages"])
@given(body=bodies)
def test_every_body_is_answered_or_refused_in_words(path: str, body: dict[str, Any]) -> None:
    reply = APP.test_client().post(path, data=json.dumps(body))

    assert reply.status_code in (200, 400)
    reply.data.decode()  # lone halves of characters would raise
    if reply.status_code == 400:
        assert reply.get_json()["error"]["message"]
    elif reply.content_type != "text/event-stream":
        assert reply.get_json()["model"] == CARD.name
