"""Text becomes ids, and ids become text again, whole and in pieces."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from axproxy.control_tokens import ESCAPE, Escaper
from axproxy.models.tokenizer_files import SMALL_TOKENIZER, TokenizerFolderError
from axproxy.tokenizer.pieces import SLICE_CHARACTERS, Untokenizable
from axproxy.tokenizer.tokenizer import TextTokenizer
from tests.support.axengine_models import write_bert_tokenizer
from tests.support.growth import assert_linear

END_OF_TURN = "<|im_end|>"

texts = st.text(st.characters(codec="utf-8", exclude_characters=ESCAPE))
ids_of_any_kind = st.lists(st.one_of(st.integers(0, 3800), st.integers(-5, 1 << 40)), max_size=30)


@settings(deadline=None)
@given(texts)
def test_any_text_comes_back(small: TextTokenizer, text: str) -> None:
    assert small.decode(small.encode(text)) == text


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters=ESCAPE + "\u2581")))
def test_any_text_comes_back_from_word_pieces(pieces: TextTokenizer, text: str) -> None:
    assert pieces.decode(pieces.encode(text)) == text


@pytest.mark.parametrize("kind", ["small", "pieces"])
@settings(deadline=None)
@given(ids=ids_of_any_kind, data=st.data())
def test_however_ids_are_split_the_text_is_the_same(
    kind: str, request: pytest.FixtureRequest, ids: list[int], data: st.DataObject
) -> None:
    tokenizer: TextTokenizer = request.getfixturevalue(kind)
    stream = tokenizer.detokenizer()
    text, start = "", 0
    while start < len(ids):
        end = data.draw(st.integers(start + 1, len(ids)))
        new = stream.feed(ids[start:end])
        assert len(new) == end - start
        text += "".join(new)
        start = end
    assert text + stream.finish() == tokenizer.decode(ids)


@settings(deadline=None)
@given(ids_of_any_kind)
def test_a_text_is_the_bytes_of_its_tokens(small: TextTokenizer, ids: list[int]) -> None:
    assert small.decode(ids) == b"".join(map(small.bytes_of, ids)).decode("utf-8", "replace")


@pytest.mark.parametrize("text", ["Hello, world!", "the <think> sign", "Grüße 你好 😀", " a\n\n b"])
def test_text_is_what_the_library_makes_of_the_ids(small: TextTokenizer, text: str) -> None:
    library = Tokenizer.from_file(str(SMALL_TOKENIZER / "tokenizer.json"))
    ids = library.encode(text).ids
    assert small.encode(text) == ids
    assert small.decode(ids) == library.decode(ids, skip_special_tokens=False) == text


def test_a_character_comes_with_the_token_that_completes_it(small: TextTokenizer) -> None:
    ids = small.encode("😀")
    assert len(ids) > 1
    assert small.detokenizer().feed(ids) == [""] * (len(ids) - 1) + ["😀"]


def test_half_a_character_at_the_end_becomes_a_replacement(small: TextTokenizer) -> None:
    stream = small.detokenizer()
    first_byte = small.encode("\U000fffff")[0]
    assert stream.feed([first_byte]) == [""]
    assert stream.finish() == "\ufffd"


def test_unknown_ids_have_no_text(small: TextTokenizer) -> None:
    assert small.decode([-1, 10_000_000, 1 << 70]) == ""


def test_control_tokens_are_live_and_read_as_they_are_written(small: TextTokenizer) -> None:
    ids = small.encode("<|im_start|><think>")
    assert len(ids) == 2
    assert small.decode(ids) == "<|im_start|><think>"


def test_an_escape_splits_the_text_and_is_dropped(small: TextTokenizer) -> None:
    assert small.encode(f"he{ESCAPE}llo") == small.encode("he") + small.encode("llo")
    assert small.encode(ESCAPE) == small.encode("") == []


def test_lone_surrogates_count_as_replacements(small: TextTokenizer) -> None:
    assert small.encode("a\ud800") == small.encode("a\ufffd")


def test_a_very_long_text_is_counted_in_slices(small: TextTokenizer) -> None:
    text = "word " * (SLICE_CHARACTERS // 4)
    assert abs(small.count(text) - SLICE_CHARACTERS // 4) < 5
    assert small.decode(small.encode(text)) == text


def test_the_first_space_of_word_pieces_is_not_text(pieces: TextTokenizer) -> None:
    hello = pieces.encode("he a")
    assert pieces.decode(hello) == "he a"
    assert pieces.detokenizer().feed(hello) == ["he", " a"]


def test_info_of_the_small_tokenizer(small: TextTokenizer) -> None:
    info = small.info()
    assert json.loads(json.dumps(info)) == info
    assert info["eos_token"] == END_OF_TURN
    assert small.decode([info["eos_id"]]) == END_OF_TURN
    assert (info["bos_id"], info["bos_token"]) == (-1, None)
    assert "<|im_start|>" in info["chat_template"]
    special = {token["text"]: token["special"] for token in info["control_tokens"]}
    assert (special["<|im_start|>"], special["<think>"]) == (True, False)
    every = [len(small.bytes_of(token_id)) for token_id in range(info["vocab_size"])]
    assert info["longest_token_bytes"] == max(every)


def test_info_of_word_pieces(pieces: TextTokenizer) -> None:
    info = pieces.info()
    assert (info["bos_id"], info["eos_id"]) == (1, 2)
    assert info["chat_template"] is None


def save(folder: Path, tokenizer: Tokenizer, config: str = '{"eos_token": "</s>"}') -> Path:
    """Write a tokenizer folder."""
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(config)
    return folder


def word_tokenizer(*words: str) -> Tokenizer:
    """Make a tokenizer of single characters and control tokens."""
    tokenizer = Tokenizer(models.BPE(vocab={"a": 0, "b": 1, "s": 2, "<": 3, ">": 4}, merges=[]))
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken(word, normalized=True) for word in words])
    return tokenizer


def test_a_look_alike_does_not_become_a_control_token(tmp_path: Path) -> None:
    """With NFKC, full-width letters turn into those of a control token."""
    tokenizer = word_tokenizer("<s>", "</s>")
    tokenizer.normalizer = normalizers.NFKC()
    loaded = TextTokenizer.load(save(tmp_path, tokenizer))
    assert tokenizer.encode("\uff1cs\uff1e").ids == [5]
    assert loaded.encode("\uff1cs\uff1e") == [3, 2, 4]
    assert loaded.encode("<s>") == [5]


def test_blanks_that_are_added_tokens_are_no_control_tokens(tmp_path: Path) -> None:
    loaded = TextTokenizer.load(save(tmp_path, word_tokenizer("  ", "\n", "\u2581\u2581", "</s>")))
    assert [token.text for token in loaded.control_tokens] == ["</s>"]


def test_padding_and_truncation_of_the_folder_are_ignored(tmp_path: Path) -> None:
    tokenizer = word_tokenizer("</s>")
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=9)
    assert TextTokenizer.load(save(tmp_path, tokenizer)).encode("abab") == [0, 1, 0, 1]


def test_the_usual_end_of_turn_is_found_without_a_config(tmp_path: Path) -> None:
    word_tokenizer("<|endoftext|>", END_OF_TURN).save(str(tmp_path / "tokenizer.json"))
    assert TextTokenizer.load(tmp_path).info()["eos_token"] == END_OF_TURN


def test_a_text_that_the_vocabulary_cannot_encode_is_an_error_of_its_own(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "</s>": 1}, unk_token="<unk>"))
    tokenizer.decoder = decoders.ByteLevel()
    loaded = TextTokenizer.load(save(tmp_path, tokenizer))
    with pytest.raises(Untokenizable):
        loaded.encode("b")


BROKEN = {
    # content of tokenizer.json: the error
    "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n": "git lfs pull",
    "": "fetch it again",
    "{}": "fetch it again",
    "no json": "fetch it again",
}


@pytest.mark.parametrize("content", BROKEN)
def test_a_broken_vocabulary_is_explained(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(TokenizerFolderError, match=BROKEN[content]) as raised:
        TextTokenizer.load(tmp_path)
    assert str(tmp_path) in str(raised.value)


def test_a_missing_vocabulary_is_explained(tmp_path: Path) -> None:
    with pytest.raises(TokenizerFolderError, match=r"there is no .*tokenizer\.json; copy it"):
        TextTokenizer.load(tmp_path)


@pytest.mark.parametrize("config", ["{", "[]", '{"eos_token": "gone"}', "\udcff", "[" * 100_000])
def test_a_broken_config_is_explained(tmp_path: Path, config: str) -> None:
    shutil.copy(SMALL_TOKENIZER / "tokenizer.json", tmp_path)
    path = tmp_path / "tokenizer_config.json"
    path.write_bytes(config.encode("utf-8", "surrogateescape"))
    with pytest.raises(TokenizerFolderError, match=str(tmp_path)):
        TextTokenizer.load(tmp_path)


def test_an_encoders_vocabulary_is_read_with_its_own_marks(tmp_path: Path) -> None:
    write_bert_tokenizer(tmp_path)
    tokenizer = TextTokenizer.load(tmp_path)
    ids = tokenizer.encode("[CLS]The SKY is bluest![SEP]")

    assert (ids[0], ids[-1]) == (tokenizer.bos_id, tokenizer.eos_id)
    assert tokenizer.decode(ids[1:-1]) == "the sky is bluest !"


@pytest.mark.parametrize(
    "decoder", [None, decoders.BPEDecoder(), decoders.CTC(), decoders.Strip("x", 1, 0)]
)
def test_an_unknown_decoder_is_refused(tmp_path: Path, decoder: decoders.Decoder | None) -> None:
    tokenizer = Tokenizer(models.BPE(vocab={"a": 0, "</s>": 1}, merges=[]))
    if decoder is not None:
        tokenizer.decoder = decoder
    with pytest.raises(TokenizerFolderError, match=f"{tmp_path}.*unsupported"):
        TextTokenizer.load(save(tmp_path, tokenizer))


@pytest.mark.parametrize("scheme", ["always", "never"])
def test_metaspace_vocabularies_are_read(tmp_path: Path, scheme: str) -> None:
    vocabulary = {"\u2581a": 0, "b": 1, "</s>": 2, "<0x41>": 3}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.decoder = decoders.Sequence([decoders.Metaspace("\u2581", scheme)])
    loaded = TextTokenizer.load(save(tmp_path, tokenizer))
    assert loaded.decode([0, 1, 0]) == ("ab a" if scheme == "always" else " ab a")
    assert loaded.decode([3]) == "<0x41>"


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["<|im_start|>", "<think>", "<|im", "_end|>", "a", "\n"]), max_size=8)
)
def test_text_made_from_ids_contains_no_other_control_token(
    small: TextTokenizer, words: list[str]
) -> None:
    control = {token.id for token in small.control_tokens}
    typed = [id_ for word in words for id_ in small.encode(ESCAPE.join(word))]
    live = small.encode("<|im_start|>")
    assert not control & set(typed)

    again = small.encode(small.spell([*typed, *live, *typed]))
    assert [id_ for id_ in again if id_ in control] == live
    assert small.decode(again) == small.decode([*typed, *live, *typed])


def test_a_run_of_blanks_that_was_added_is_blanks(tmp_path: Path, pieces_folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(pieces_folder / "tokenizer.json"))
    tokenizer.add_tokens([AddedToken("\u2581\u2581\u2581\u2581", normalized=True)])
    loaded = TextTokenizer.load(save(tmp_path, tokenizer))
    blanks = tokenizer.token_to_id("\u2581\u2581\u2581\u2581")
    assert loaded.decode([loaded.encode("a")[-1], blanks]) == "a    "


def test_added_words_that_structure_nothing_are_encoded_from_typed_text(tmp_path: Path) -> None:
    tokenizer = word_tokenizer("<b>", "</b>", "<tool_call>", "<|file_sep|>", "<turn>", "</s>")
    config = json.dumps({"eos_token": "</s>", "chat_template": "<turn>{{ messages }}"})
    loaded = TextTokenizer.load(save(tmp_path, tokenizer, config))
    control = [token.text for token in loaded.control_tokens]
    assert control == ["<tool_call>", "<|file_sep|>", "<turn>", "</s>"]
    text = "<b>a</b>"
    assert loaded.encode(Escaper(control)(text)) == loaded.encode(text) == [5, 0, 6]


PREFIXES = {
    "normalizer": {"normalizer": normalizers.Prepend("\u2581")},
    "always": {"pre_tokenizer": pre_tokenizers.Metaspace(prepend_scheme="always")},
    "first": {"pre_tokenizer": pre_tokenizers.Metaspace(prepend_scheme="first")},
    "in a sequence": {
        "pre_tokenizer": pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(), pre_tokenizers.Metaspace(prepend_scheme="always")]
        )
    },
}


@pytest.mark.parametrize("how", PREFIXES)
def test_a_vocabulary_that_begins_texts_with_a_blank_adds_none_at_an_escape(
    tmp_path: Path, pieces_folder: Path, how: str
) -> None:
    tokenizer = Tokenizer.from_file(str(pieces_folder / "tokenizer.json"))
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    for name, step in PREFIXES[how].items():
        setattr(tokenizer, name, step)
    loaded = TextTokenizer.load(save(tmp_path, tokenizer))
    control = {token.id: token.text for token in loaded.control_tokens}
    ids = loaded.encode(Escaper(control.values())("a<s>b"))
    assert not control.keys() & set(ids)
    assert loaded.decode(ids) == "a<s>b"
    # After a token, what the tokenizer does with an unescaped text counts.
    for text in ("he", "a he"):
        assert loaded.encode(f"<s>{ESCAPE}{text}") == loaded.encode(f"<s>{text}")


def test_a_long_text_gets_no_blank_between_its_slices(pieces: TextTokenizer) -> None:
    text = "a" * (SLICE_CHARACTERS + 10)
    assert pieces.decode(pieces.encode(text)) == text


def test_thousands_of_added_tokens_are_read_in_time_that_grows_with_their_number(
    tmp_path: Path,
) -> None:
    def make(number: int) -> Path:
        folder = tmp_path / str(number)
        folder.mkdir()
        tokenizer = word_tokenizer("</s>", *(f"<|unused{count}|>" for count in range(number)))
        tokenizer.normalizer = normalizers.NFC()
        return save(folder, tokenizer)

    def work(folder: Path) -> None:
        loaded = TextTokenizer.load(folder)
        Escaper(token["text"] for token in loaded.info()["control_tokens"])("a<b")

    assert_linear(make, work, 6000)


@pytest.mark.parametrize("text", ["a", " ", "ab ", "<|", "\u0316\u0300", "\n", "{", "1"])
@pytest.mark.parametrize("kind", ["small", "pieces"])
def test_a_text_is_counted_in_time_that_grows_with_its_length(
    kind: str, request: pytest.FixtureRequest, text: str
) -> None:
    tokenizer: TextTokenizer = request.getfixturevalue(kind)
    escape = Escaper(token.text for token in tokenizer.control_tokens)
    assert_linear(
        lambda size: escape(text * (size // len(text))),
        lambda escaped: tokenizer.decode(tokenizer.encode(escaped)),
        1 << 16,
    )
