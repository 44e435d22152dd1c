"""Vectors from an embedding model behind `axllm`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from axproxy.engine.engine import SerialEngine
from axproxy.errors import ClientError, RuntimeMisbehaved
from axproxy.messages import EmbedRequest
from axproxy.models.description import describe_model
from axproxy.prompts.template_features import EMBEDDING
from axproxy.runtimes.axllm.embedding import vector_in
from axproxy.runtimes.axllm.launch import SIMULATED_MODEL
from axproxy.settings import Settings
from backend import create_engine
from tests.support.model_folders import axllm_model
from tests.support.ports import own_port
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = axllm_model(
        tmp_path_factory.mktemp("model") / "Qwen3-Embedding-0.6B",
        model_name="AXERA-TECH/Qwen3-Embedding-0.6B",
        is_embedding=True,
    )
    shutil.copy(SIMULATED_MODEL / "tokenizer.txt", folder / "qwen3_tokenizer.txt")
    return Settings.from_env(
        {
            "AX650_RUNTIME": "mock-axllm",
            "AX650_MODEL_PATH": str(folder),
            "AX650_MOCK_ARGS": "--load-seconds 0.1 --prefill-tokens-per-second 0 "
            "--context 200 --prefill-limit 120",
            "AX650_RUNTIME_PORT": str(own_port()),
        }
    )


@pytest.fixture(scope="module")
def engine(settings: Settings) -> Iterator[SerialEngine[Any]]:
    engine, _ = create_engine(settings)
    engine.start()
    eventually(lambda: engine.not_ready() is None)
    yield engine
    engine.stop()


def embed(engine: SerialEngine[Any], *texts: str, truncate: bool = True) -> Any:
    model = engine.loaded()[0].model
    return engine.embed(model, EmbedRequest(texts, truncate), lambda: False)


def test_the_folder_says_that_the_model_embeds_and_does_not_answer(settings: Settings) -> None:
    model = describe_model(settings, ("completion", EMBEDDING))

    assert model.capabilities == ("embedding",)
    assert model.embedding_length == 1024
    assert model.runtime == "axllm"


def test_each_text_gets_its_vector_and_all_tokens_are_counted(engine: SerialEngine[Any]) -> None:
    one = embed(engine, "Hello")
    both = embed(engine, "Hello", "The sky is blue.")

    assert [len(vector) for vector in both.vectors] == [1024, 1024]
    assert both.vectors[0] == one.vectors[0] != both.vectors[1]
    assert both.prompt_tokens > one.prompt_tokens > 0
    assert both.total >= both.load >= 0


def test_a_text_that_is_too_long_is_cut_or_refused(engine: SerialEngine[Any]) -> None:
    long = "word " * 500
    cut = embed(engine, long)
    assert 50 < cut.prompt_tokens <= 120

    with pytest.raises(ClientError, match="the input length exceeds the context length"):
        embed(engine, long, truncate=False)


def test_no_text_loads_the_model_and_asks_nothing(engine: SerialEngine[Any]) -> None:
    assert embed(engine).vectors == ()


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        [{"embedding": []}],
        [{"embedding": [1.0, "2"]}],
        [{"embedding": [1.0, None]}],
        [{"embedding": [float("nan")]}],
        [{"embedding": [True]}],
        [{"embedding": [1.0]}, {"embedding": [1.0]}],
        [{"embedding": [0.0] * 20_000}],
    ],
    ids=str,
)
def test_what_is_no_vector_is_never_passed_on(data: Any) -> None:
    with pytest.raises(RuntimeMisbehaved):
        vector_in(data)
