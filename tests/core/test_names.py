"""The grammar of model ids, key ids, operation ids and KEY arguments."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.keystores import error_of
from tiktrue_keys.core.names import (
    KeyArgumentKind,
    KeyId,
    model_of,
    new_key_id,
    new_operation_id,
    parse_key_argument,
    parse_model_id,
    parse_operation_id,
    short_of,
)
from tiktrue_keys.errors import UsageError

HEX_16 = "0123456789abcdef"


@pytest.mark.parametrize(
    "text",
    [
        "m",
        "7b",
        "llama_7b_v1",
        "meta/Llama-3.1-8B",
        "a" * 96,
        "x_0123456789abcde",
        "a./-_",
        "llama3:70b",
        "org/model@rev",
        "a/.b/...",
    ],
)
def test_a_model_id_may_be(text: str) -> None:
    assert parse_model_id(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " m",
        "_m",
        "-m",
        "/m",
        ".m",
        "a b",
        "a\nb",
        "a/",
        "a//b",
        "a/../b",
        "a/./b",
        "a/..",
        "m\n",
        "llama\x1b[2J",
        "modèle",
        "\N{ARABIC-INDIC DIGIT ONE}",
        "a" * 97,
        f"m_{HEX_16}",
        f"m_{HEX_16.upper()}",
        f"_{HEX_16}",
        f"\n_{HEX_16}",
    ],
)
def test_a_model_id_may_not_be(text: str) -> None:
    with pytest.raises(UsageError):
        parse_model_id(text)


@pytest.mark.parametrize("text", ["\x1b[2J" + "x" * 200_000, "\x1b[2J" + "x" * 200_000 + f"_{HEX_16}"])
def test_what_is_refused_is_quoted_short_and_harmless(text: str) -> None:
    for parse in (parse_model_id, parse_key_argument):
        error = error_of(lambda parse=parse: parse(text))  # type: ignore[misc]
        assert error is not None
        assert len(error.message) < 300
        assert error.message.isprintable()


def test_a_key_id_is_the_model_id_and_16_hex_digits_that_never_repeat() -> None:
    model = parse_model_id("llama/7b")
    made = {new_key_id(model) for _ in range(100)}
    assert len(made) == 100
    for key_id in made:
        assert re.fullmatch("llama/7b_[0-9a-f]{16}", key_id)
        assert model_of(key_id) == model
        assert key_id.endswith(f"_{short_of(key_id)}{key_id[-8:]}")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (f"m_{HEX_16}", KeyArgumentKind.KEY_ID),
        (f"m_{HEX_16}_{HEX_16}", KeyArgumentKind.KEY_ID),
        ("deadbeef", KeyArgumentKind.SHORT_OR_MODEL),
        ("deadbee", KeyArgumentKind.MODEL_ID),
        ("deadbeef0", KeyArgumentKind.MODEL_ID),
        ("DEADBEEF", KeyArgumentKind.MODEL_ID),
        ("llama/7b", KeyArgumentKind.MODEL_ID),
    ],
)
def test_a_key_argument_names(text: str, kind: KeyArgumentKind) -> None:
    assert parse_key_argument(text).kind is kind


@pytest.mark.parametrize("text", ["", "*", "a b", "m_\n", "../m", "a" * 114])
def test_no_key_argument(text: str) -> None:
    with pytest.raises(UsageError):
        parse_key_argument(text)


def test_an_operation_id() -> None:
    assert parse_operation_id("2026-11-24.nightly_rotate") == "2026-11-24.nightly_rotate"
    assert parse_operation_id(new_operation_id())
    assert new_operation_id() != new_operation_id()
    for text in ("", ".x", "a/b", "a b", "x" * 65, "x\n"):
        with pytest.raises(UsageError):
            parse_operation_id(text)


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,95}", fullmatch=True))
def test_every_model_id_gives_key_ids_that_lead_back_to_it(text: str) -> None:
    if error_of(lambda: parse_model_id(text)) is None:
        key_id = new_key_id(parse_model_id(text))
        assert parse_key_argument(key_id).kind is KeyArgumentKind.KEY_ID
        assert model_of(KeyId(key_id)) == text
