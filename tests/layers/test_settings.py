"""Settings come from the environment, and each mistake is reported in one sentence."""

from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from axproxy.durations import FOREVER
from axproxy.preflight.checks import require_model
from axproxy.settings import Settings, SettingsError, port_variable

VARIABLES = [field.metadata["variable"] for field in fields(Settings)]
OLLAMAS = [
    "OLLAMA_HOST",
    "OLLAMA_ORIGINS",
    "OLLAMA_KEEP_ALIVE",
    "OLLAMA_MAX_QUEUE",
    "OLLAMA_LOAD_TIMEOUT",
]


def refusal(environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as refused:
        Settings.from_env(environ)
    return str(refused.value)


def test_nothing_needs_to_be_set() -> None:
    assert Settings.from_env({"PATH": "/bin", "HOME": "/root"}) == Settings()


@pytest.mark.parametrize(
    ("variable", "value", "name", "parsed"),
    [
        ("AX650_HOST", "0.0.0.0", "host", "0.0.0.0"),
        ("AX650_PORT", "11434", "port", 11434),
        ("AX650_OLLAMA_PORT", "0", "ollama_port", 0),
        ("AX650_RUNTIME", "Mock", "runtime", "mock"),
        ("AX650_RUNTIME_BIN", "/opt/main_api", "runtime_bin", Path("/opt/main_api")),
        ("AX650_DEVICE", "1", "device", "1"),
        ("AX650_TOKENIZER", "vendor", "tokenizer", "vendor"),
        ("AX650_CONTEXT_LENGTH", "2559", "context_length", 2559),
        ("AX650_PREFILL_LIMIT", "2048", "prefill_limit", 2048),
        ("AX650_MAX_QUEUE", "0", "max_queue", 0),
        ("AX650_START_TIMEOUT", "0.5", "start_timeout", 0.5),
        ("AX650_STALL_TIMEOUT", " 90 ", "stall_timeout", 90),
        ("AX650_KEEP_ALIVE", "5m", "keep_alive", 300),
        ("AX650_KEEP_ALIVE", "-1", "keep_alive", FOREVER),
        ("AX650_CMA_CHECK", "fail", "cma_check", "fail"),
        ("AX650_PREFLIGHT_SKIP", "cma, ports,,", "preflight_skip", ("cma", "ports")),
        ("AX650_API_KEY", "s3cret", "api_key", "s3cret"),
        ("AX650_ORIGINS", "http://a.example,http://b.example", "origins", None),
        ("AX650_LOG_LEVEL", "DEBUG", "log_level", "debug"),
        ("AX650_LOG_FILE", "~/log", "log_file", Path("/home/pi/log")),
        ("AX650_MOCK_ARGS", "--reply 'a b' --port 1", "mock_args", None),
        ("AX650_AXCL_SMI", "/usr/bin/axcl/axcl-smi", "axcl_smi", Path("/usr/bin/axcl/axcl-smi")),
    ],
)
def test_a_variable_sets_its_field_and_no_other(
    variable: str, value: str, name: str, parsed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/pi")
    lists = {
        "origins": ("http://a.example", "http://b.example"),
        "mock_args": ("--reply", "a b", "--port", "1"),
    }
    settings = Settings.from_env({variable: value})
    assert getattr(settings, name) == lists.get(name, parsed)
    others = [field.name for field in fields(Settings) if field.name != name]
    assert [getattr(settings, other) for other in others] == [
        getattr(Settings(), other) for other in others
    ]


@pytest.mark.parametrize("variable", VARIABLES)
def test_an_empty_value_counts_as_not_set(variable: str) -> None:
    assert Settings.from_env({variable: " "}) == Settings()


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("AX650_PORT", "http", "AX650_PORT must be a whole number from 1 to 65535, not 'http'"),
        ("AX650_PORT", "0", "AX650_PORT must be a whole number from 1 to 65535, not '0'"),
        ("AX650_MAX_QUEUE", "-1", "AX650_MAX_QUEUE must be a whole number from 0 to 10000"),
        ("AX650_START_TIMEOUT", "0", "AX650_START_TIMEOUT must be a number of seconds above 0"),
        ("AX650_START_TIMEOUT", "soon", "AX650_START_TIMEOUT must be a number of seconds above 0"),
        ("AX650_STALL_TIMEOUT", "inf", "AX650_STALL_TIMEOUT must be a number of seconds above 0"),
        ("AX650_KEEP_ALIVE", "long", 'AX650_KEEP_ALIVE must be seconds, a duration like "5m"'),
        ("AX650_CMA_CHECK", "yes", "AX650_CMA_CHECK must be one of warn, fail, off, not 'yes'"),
        ("AX650_MODEL_NAME", "a b/c d", "AX650_MODEL_NAME must be a name as Ollama's"),
        ("AX650_MODEL_NAME", "qwen3:cloud", "AX650_MODEL_NAME must be a name as Ollama's"),
        ("AX650_MODEL_NAME", ":4b", "AX650_MODEL_NAME must be a name as Ollama's"),
        ("AX650_MOCK_ARGS", "'a", "AX650_MOCK_ARGS must be a command line"),
        ("OLLAMA_HOST", "0.0.0.0:x", "OLLAMA_HOST must be a whole number from 1 to 65535"),
    ],
)
def test_an_invalid_value_is_refused_with_what_is_valid(
    variable: str, value: str, sentence: str
) -> None:
    assert refusal({variable: value}).startswith(sentence)


@pytest.mark.parametrize(
    ("variable", "answer"),
    [
        ("AX650_PROT", "unknown setting AX650_PROT; did you mean AX650_PORT?"),
        ("ax650_port", "unknown setting ax650_port; did you mean AX650_PORT?"),
        ("Ax650_Model_Path", "unknown setting Ax650_Model_Path; did you mean AX650_MODEL_PATH?"),
        ("AX650_MODELPATH", "unknown setting AX650_MODELPATH; did you mean AX650_MODEL_PATH?"),
        (
            "AX650_WHATEVER_ELSE_THERE_IS",
            "unknown setting AX650_WHATEVER_ELSE_THERE_IS; docs/settings.md lists all settings.",
        ),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(variable: str, answer: str) -> None:
    assert refusal({variable: "1"}) == answer


def test_a_common_prefix_alone_suggests_no_name() -> None:
    assert "did you mean" not in refusal({"AX650_X": "1"})


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().port = 1  # type: ignore[misc]  # the test is that it fails


@given(st.sampled_from(VARIABLES + OLLAMAS), st.text())
@example("AX650_MODEL_PATH", "~nobody-of-this-name/models")
@example("AX650_CONTEXT_LENGTH", "9" * 5000)
def test_any_value_is_accepted_or_refused_with_its_name(variable: str, value: str) -> None:
    try:
        settings = Settings.from_env({variable: value})
    except SettingsError as error:
        sentence = str(error)
    else:
        assert 0 < settings.port < 65536
        return
    assert variable in sentence or " are both " in sentence


@pytest.mark.parametrize(
    ("environ", "kind"),
    [
        ({}, "mock"),
        ({"AX650_MODEL_PATH": "/models/qwen"}, "vendor"),
        ({"AX650_RUNTIME": "vendor", "AX650_MODEL_PATH": "/models/qwen"}, "vendor"),
        ({"AX650_RUNTIME": "mock", "AX650_MODEL_PATH": "/models/qwen"}, "mock"),
        ({"AX650_RUNTIME": "attach"}, "attach"),
    ],
)
def test_the_card_is_used_if_a_model_is_configured(environ: dict[str, str], kind: str) -> None:
    assert Settings.from_env(environ).runtime_kind == kind


@pytest.mark.parametrize(
    ("environ", "lacks"),
    [
        ({}, False),
        ({"AX650_SIMULATE": "off"}, True),
        ({"AX650_SIMULATE": "off", "AX650_RUNTIME": "mock"}, False),
        ({"AX650_SIMULATE": "off", "AX650_RUNTIME": "auto"}, True),
        ({"AX650_SIMULATE": "off", "AX650_MODEL_PATH": "/models/qwen"}, False),
        ({"AX650_RUNTIME_BIN": "/models/main_api_axcl_aarch64"}, True),
        ({"AX650_MODELS_DIR": "/models"}, True),
        ({"AX650_MODELS_DIR": "/models", "AX650_RUNTIME": "mock"}, False),
    ],
)
def test_an_installed_unit_and_half_a_configuration_never_simulate(
    environ: dict[str, str], lacks: bool
) -> None:
    assert Settings.from_env(environ).lacks_model is lacks


@pytest.mark.parametrize("name", ["qwen3", "qwen3:1.7b", "me/qwen3:x", "hf.co/me/Qwen3-1.7B-GGUF"])
def test_a_models_name_may_be_any_of_ollamas(name: str) -> None:
    assert Settings.from_env({"AX650_MODEL_NAME": name}).model_name == name


@pytest.mark.parametrize("runtime", ["vendor", "axllm"])
def test_a_program_of_the_vendors_needs_a_model_or_a_store(runtime: str) -> None:
    with pytest.raises(SettingsError, match="no model is configured"):
        require_model(Settings.from_env({"AX650_RUNTIME": runtime}))
    require_model(Settings.from_env({"AX650_RUNTIME": runtime, "AX650_MODELS_DIR": "/models"}))


@pytest.mark.parametrize("value", ["a", "a=", "=b", "a b=c", "*=a b", "a=b, c"])
def test_aliases_are_pairs_of_names(value: str) -> None:
    assert "AX650_MODEL_ALIASES must be" in refusal({"AX650_MODEL_ALIASES": value})


@pytest.mark.parametrize(
    "environ", [{"AX650_OLLAMA_PORT": "5002"}, {"OLLAMA_HOST": "::1", "AX650_OLLAMA_PORT": "11434"}]
)
def test_the_same_port_named_twice_is_one_listener(environ: dict[str, str]) -> None:
    settings = Settings.from_env(environ)
    assert settings.port == settings.ollama_port


def test_an_ollama_variable_that_ours_overrides_is_not_read() -> None:
    assert Settings.from_env({"OLLAMA_MAX_QUEUE": "x", "AX650_MAX_QUEUE": "3"}).max_queue == 3


@pytest.mark.parametrize(
    ("environ", "pair"),
    [
        ({"AX650_PORT": "8000"}, "AX650_PORT and AX650_RUNTIME_PORT are both 8000"),
        ({"OLLAMA_HOST": ":8000"}, "OLLAMA_HOST and AX650_RUNTIME_PORT are both 8000"),
        ({"AX650_TOKENIZER_PORT": "8000"}, "AX650_RUNTIME_PORT and AX650_TOKENIZER_PORT"),
        ({"AX650_OLLAMA_PORT": "8000"}, "AX650_RUNTIME_PORT and AX650_OLLAMA_PORT are both 8000"),
    ],
)
def test_two_listeners_cannot_share_a_port(environ: dict[str, str], pair: str) -> None:
    assert refusal(environ).startswith(pair)


def test_the_children_are_reached_on_the_loopback() -> None:
    settings = Settings(host="0.0.0.0", runtime_port=9000, tokenizer_port=9001)
    assert settings.runtime_url == "http://127.0.0.1:9000"
    assert settings.tokenizer_url == "http://127.0.0.1:9001"


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (Settings(), "mock:latest"),
        (Settings(model_path=Path("/models/qwen3-4b-ax650")), "qwen3-4b-ax650:latest"),
        (Settings(model_path=Path("/models/qwen"), model_name="qwen3"), "qwen3:latest"),
        (Settings(model_name="qwen3:4b"), "qwen3:4b"),
    ],
)
def test_a_models_name_always_has_a_tag(settings: Settings, name: str) -> None:
    assert settings.model == name


@pytest.mark.parametrize(
    ("value", "host", "port"),
    [
        ("0.0.0.0", "0.0.0.0", 11434),
        ("1.2.3.4:5000", "1.2.3.4", 5000),
        ("pi.local", "pi.local", 11434),
        ("http://1.2.3.4", "1.2.3.4", 80),
        ("https://1.2.3.4", "1.2.3.4", 443),
        ("https://1.2.3.4:4321", "1.2.3.4", 4321),
        ("http://pi.local:8080/ollama", "pi.local", 8080),
        ("https://pi.local/ollama", "pi.local", 443),
        (" \"1.2.3.4:5000' ", "1.2.3.4", 5000),
        ("1.2.3.4:", "1.2.3.4", 11434),
        ("[::1]", "::1", 11434),
        ("[::1]:1337", "::1", 1337),
        ("::1", "::1", 11434),
        ("::", "::", 11434),
        ("http://", "127.0.0.1", 80),
    ],
)
def test_ollamas_host_is_read_as_ollama_reads_it(value: str, host: str, port: int) -> None:
    settings = Settings.from_env({"OLLAMA_HOST": value})
    assert (settings.host, settings.port) == (host, port)


def test_a_port_alone_means_every_interface() -> None:
    settings = Settings.from_env({"OLLAMA_HOST": ":8080"})
    assert settings.port == 8080
    assert settings.host in ("", "0.0.0.0", "::")


@pytest.mark.parametrize("value", ["2001:db8:0:0:0:0:0:1", "[fe80::1:2]", "fe80::1:2"])
def test_the_last_group_of_an_ipv6_address_is_not_a_port(value: str) -> None:
    settings = Settings.from_env({"OLLAMA_HOST": value})
    assert (settings.host, settings.port) == (value.strip("[]"), 11434)


@pytest.mark.parametrize(
    ("variable", "value", "name", "parsed"),
    [
        ("OLLAMA_ORIGINS", "http://a.example", "origins", ("http://a.example",)),
        ("OLLAMA_KEEP_ALIVE", "0", "keep_alive", 0),
        ("OLLAMA_KEEP_ALIVE", "10m", "keep_alive", 600),
        ("OLLAMA_MAX_QUEUE", "512", "max_queue", 512),
        ("OLLAMA_LOAD_TIMEOUT", "10m", "start_timeout", 600),
        ("OLLAMA_LOAD_TIMEOUT", "0", "start_timeout", FOREVER),
        ("OLLAMA_LOAD_TIMEOUT", "-1", "start_timeout", FOREVER),
    ],
)
def test_ollamas_variables_are_used_when_ours_are_not_set(
    variable: str, value: str, name: str, parsed: Any
) -> None:
    assert getattr(Settings.from_env({variable: value}), name) == parsed


def test_our_own_variables_come_first() -> None:
    settings = Settings.from_env(
        {"OLLAMA_HOST": "0.0.0.0:11434", "AX650_PORT": "5003", "OLLAMA_MAX_QUEUE": ""}
    )
    assert (settings.host, settings.port, settings.max_queue) == ("0.0.0.0", 5003, 64)


@pytest.mark.parametrize(
    ("environ", "variable"),
    [
        ({}, "AX650_PORT"),
        ({"OLLAMA_HOST": "127.0.0.1:80"}, "OLLAMA_HOST"),
        ({"OLLAMA_HOST": "127.0.0.1:80", "AX650_PORT": "5002"}, "AX650_PORT"),
        ({"OLLAMA_HOST": " ", "AX650_PORT": ""}, "AX650_PORT"),
    ],
)
def test_a_port_is_blamed_on_the_variable_that_set_it(
    environ: dict[str, str], variable: str
) -> None:
    assert port_variable(environ) == variable
