"""Wrapping a data key for a managed key and for its public half: bound to file, model, key and generation."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from tiktrue_keys.core.derivation import MANAGED_KEY_HPKE, subkey, x_wing_public_bytes
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import IntegrityError, RefusedError
from tiktrue_keys.models.format.header import Wrap, WrapType
from tiktrue_keys.models.format.wraps import RECIPIENT_KEY_LENGTH, unwrap_data_key, wrap_for_key, wrap_for_recipient

DATA_KEY = bytes(range(32))
FILE_ID = bytes(16)
KEY_ID = "llama/7b_0123456789abcdef"


@pytest.fixture
def managed() -> SecretBuffer:
    return SecretBuffer.copy_of(os.urandom(32))


def wrapped(managed: SecretBuffer, kind: WrapType) -> Wrap:
    with SecretBuffer.copy_of(DATA_KEY) as data_key:
        if kind is WrapType.MANAGED_KEY:
            return wrap_for_key(
                data_key.view, managed.view, file_id=FILE_ID, model_id="llama/7b", key_id=KEY_ID, generation=3
            )
        with subkey(managed.view, MANAGED_KEY_HPKE) as seed:
            public = x_wing_public_bytes(seed.view)
        return wrap_for_recipient(
            data_key.view, public, file_id=FILE_ID, model_id="llama/7b", key_id=KEY_ID, generation=3
        )


@pytest.mark.parametrize(("kind", "length"), [(WrapType.MANAGED_KEY, 60), (WrapType.HPKE, 1120 + 48)])
def test_a_wrap_opens(managed: SecretBuffer, kind: WrapType, length: int) -> None:
    wrap = wrapped(managed, kind)
    assert (wrap.type, wrap.key_id, wrap.generation, len(wrap.wrapped)) == (kind, KEY_ID, 3, length)
    with unwrap_data_key(wrap, managed.view, file_id=FILE_ID, model_id="llama/7b") as data_key:
        assert bytes(data_key.view) == DATA_KEY


@pytest.mark.parametrize("kind", WrapType)
def test_a_wrap_is_bound_to_everything_around_it(managed: SecretBuffer, kind: WrapType) -> None:
    wrap = wrapped(managed, kind)
    elsewhere = [
        (wrap, bytes([1] * 16), "llama/7b"),
        (wrap, FILE_ID, "llama/70b"),
        (replace(wrap, generation=4), FILE_ID, "llama/7b"),
        (replace(wrap, key_id="llama/7b_0123456789abcdee"), FILE_ID, "llama/7b"),
        (replace(wrap, wrapped=bytes([wrap.wrapped[0] ^ 1]) + wrap.wrapped[1:]), FILE_ID, "llama/7b"),
        (replace(wrap, wrapped=wrap.wrapped[:-1] + bytes([wrap.wrapped[-1] ^ 1])), FILE_ID, "llama/7b"),
    ]
    for changed, file_id, model_id in elsewhere:
        with pytest.raises(IntegrityError):
            unwrap_data_key(changed, managed.view, file_id=file_id, model_id=model_id)
    with SecretBuffer.random() as another, pytest.raises(IntegrityError):
        unwrap_data_key(wrap, another.view, file_id=FILE_ID, model_id="llama/7b")


def test_an_hpke_wrap_of_another_length(managed: SecretBuffer) -> None:
    wrap = wrapped(managed, WrapType.HPKE)
    for data in (wrap.wrapped[:100], wrap.wrapped[:-1], wrap.wrapped + b"\0"):
        with pytest.raises(IntegrityError):
            unwrap_data_key(replace(wrap, wrapped=data), managed.view, file_id=FILE_ID, model_id="llama/7b")


def test_the_two_kinds_are_not_exchangeable(managed: SecretBuffer) -> None:
    wrap = wrapped(managed, WrapType.MANAGED_KEY)
    with pytest.raises(IntegrityError):
        unwrap_data_key(replace(wrap, type=WrapType.HPKE), managed.view, file_id=FILE_ID, model_id="llama/7b")


@pytest.mark.parametrize("public", [b"", bytes(RECIPIENT_KEY_LENGTH - 1), b"\xff" * RECIPIENT_KEY_LENGTH])
def test_what_is_no_public_key_is_refused(public: bytes) -> None:
    with SecretBuffer.copy_of(DATA_KEY) as data_key, pytest.raises(RefusedError, match="public key"):
        wrap_for_recipient(data_key.view, public, file_id=FILE_ID, model_id="llama/7b", key_id=KEY_ID, generation=1)
