"""A prompt costs little until it is known to fit, and nothing once its client has left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from axproxy.control_tokens import ESCAPE, ControlToken
from axproxy.errors import ClientGone, PromptTooLong
from axproxy.messages import ChatRequest, Message
from axproxy.prompts import renderer as module
from axproxy.prompts.fitting import Window
from axproxy.prompts.renderer import TemplateRenderer
from axproxy.prompts.template import ChatTemplate
from axproxy.prompts.tokenizer import TokenizerInfo
from axproxy.prompts.vendor_script import VendorScriptRenderer
from tests.support.growth import assert_linear

WINDOW = Window(context=2047, prefill_limit=1024)
TOKENS = ("<|im_start|>", "<|im_end|>", "<think>", "</think>")


class Words:
    """A tokenizer whose tokens are words; it notes the texts that it counts."""

    def __init__(self) -> None:
        self.counted: list[str] = []
        self.on_count: Callable[[], None] = lambda: None

    def info(self) -> TokenizerInfo:
        return TokenizerInfo(
            eos_id=1,
            eos_token="<|im_end|>",
            bos_id=-1,
            bos_token=None,
            chat_template=None,
            vocab_size=4,
            longest_token_bytes=16,
            control_tokens=tuple(
                ControlToken(number, text, special=text.startswith("<|"))
                for number, text in enumerate(TOKENS)
            ),
            epoch="1",
        )

    def count(self, text: str) -> int:
        self.counted.append(text)
        self.on_count()
        return len(text.split())

    def tokenize(self, text: str) -> Sequence[int]:
        return [0] * len(text.split())

    def detokenize(self, ids: Sequence[int]) -> str:
        return "word " * len(ids)


@pytest.fixture
def words() -> Words:
    return Words()


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[Message]]:
    """Note what the model's template is given."""
    seen: list[Sequence[Message]] = []
    render = ChatTemplate.render

    def noted(self: ChatTemplate, messages: Sequence[Message], variables: object) -> str:
        seen.append(messages)
        return render(self, messages, variables)  # type: ignore[arg-type]  # passed on as it is

    monkeypatch.setattr(ChatTemplate, "render", noted)
    return seen


def user(*texts: str) -> tuple[Message, ...]:
    return tuple(Message("user", text) for text in texts)


def test_a_message_that_cannot_fit_is_refused_by_its_bytes(
    words: Words, rendered: list[Sequence[Message]]
) -> None:
    request = ChatRequest(user("<|" * 1_500_000))
    with pytest.raises(PromptTooLong, match=r"at least 187500 tokens .* at most 1024"):
        TemplateRenderer(words, words.info()).render(request, WINDOW)
    assert (words.counted, rendered) == ([], [])


def test_a_raw_prompt_and_one_after_a_context_are_refused_so_too(words: Words) -> None:
    for how in ({"raw": True}, {"context": (1, 2, 3)}):
        request = ChatRequest(user("<|" * 1_500_000), **how)  # type: ignore[arg-type]  # either
        with pytest.raises(PromptTooLong):
            TemplateRenderer(words, words.info()).render(request, WINDOW)
    assert words.counted == []


def test_a_format_that_cannot_fit_is_not_rendered_with_any_turn(
    words: Words, rendered: list[Sequence[Message]]
) -> None:
    request = ChatRequest(user(*["turn"] * 500), format={"description": "<|" * 100_000})
    TemplateRenderer(words, words.info()).render(request, WINDOW)
    assert all("<|" not in messages[0].content for messages in rendered)
    assert len(rendered) == 1  # with the short instruction, and all turns


def test_escapes_are_counted_before_the_tokenizer_is_asked(words: Words) -> None:
    request = ChatRequest(user("<|im_end|>" * 1030))  # 10 KB, which might be 700 tokens
    with pytest.raises(PromptTooLong):
        TemplateRenderer(words, words.info()).render(request, WINDOW)
    assert words.counted == []


def test_blanks_that_a_template_drops_are_no_reason_to_refuse(words: Words) -> None:
    request = ChatRequest((Message("user", "Hi" + " " * 100_000),))
    info = words.info()
    source = "{{ messages[0].content | trim }}"
    stripping = TokenizerInfo(**{**info.__dict__, "chat_template": source})
    assert TemplateRenderer(words, stripping).render(request, WINDOW).text == "Hi"


def test_each_text_is_escaped_once(words: Words, monkeypatch: pytest.MonkeyPatch) -> None:
    escaped: list[str] = []

    class Noting(module.Escaper):
        def __call__(self, text: str) -> str:
            escaped.append(text)
            return super().__call__(text)

    monkeypatch.setattr(module, "Escaper", Noting)
    turns = [f"turn {number} " + "word " * 20 for number in range(200)]
    TemplateRenderer(words, words.info()).render(ChatRequest(user(*turns)), WINDOW)
    assert len(words.counted) > 4
    assert all(escaped.count(text) == 1 for text in turns[-20:])


def test_the_work_ends_when_its_client_has_gone(words: Words) -> None:
    left = threading.Event()
    words.on_count = left.set
    request = ChatRequest(user(*["word " * 100] * 100))
    with pytest.raises(ClientGone):
        TemplateRenderer(words, words.info()).render(request, WINDOW, left.is_set)
    assert len(words.counted) == 1
    with pytest.raises(ClientGone):
        VendorScriptRenderer().render(request, WINDOW, left.is_set)


@pytest.mark.parametrize(
    "text", ["<|", "<|im_end|>", " ", "\n", "a ", "e\u0300\u0316", "\u0316\u0300", "{", "\0", "é"]
)
@pytest.mark.parametrize("renderer", ["template", "vendor's script"])
def test_a_prompt_costs_time_that_grows_with_its_length(renderer: str, text: str) -> None:
    words = Words()
    render = (
        TemplateRenderer(words, words.info()).render
        if renderer == "template"
        else VendorScriptRenderer().render
    )

    def make(size: int) -> ChatRequest:
        part = text * (size // len(text) // 40)
        turns = [Message(role, part) for role in ("user", "assistant") * 10]
        return ChatRequest((Message("system", part * 20), *turns, Message("user", "Hi")))

    def work(request: ChatRequest) -> None:
        render(request, Window(context=1 << 24, prefill_limit=1 << 23))

    assert_linear(make, work, 1 << 17)


def test_what_is_escaped_is_the_clients_text(words: Words) -> None:
    text = (
        TemplateRenderer(words, words.info()).render(ChatRequest(user("<|im_end|>")), WINDOW).text
    )
    assert text == f"<|im_start|>user\n<{ESCAPE}|im_end|><|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("source", "live"),
    [
        ("{{ messages[1].content }}", 0),
        ("<think>{{ messages[1].content }}", 1),  # its own, and none of the client's
        ("{{ messages[1].content.split('<think>')[-1] }}", 0),
        ("{{ messages[1].content.split('</think>')[-1] }}", 0),
    ],
)
def test_marks_in_an_assistants_turn_stay_only_where_the_template_looks_for_them(
    words: Words, source: str, live: int
) -> None:
    info = TokenizerInfo(**{**words.info().__dict__, "chat_template": source})
    turns = (*user("Hi"), Message("assistant", "a <think> b </think> c <|im_end|>"), *user("Hi"))
    text = TemplateRenderer(words, info).render(ChatRequest(turns), WINDOW).text
    assert text.count("<think>") == live
    assert text.count("</think>") + text.count("<|im_end|>") == 0
    assert ("b" in text) == ("'</think>'" not in source)
