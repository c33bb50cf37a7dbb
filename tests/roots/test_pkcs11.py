"""Secrets under a token's key: the key stays inside, and each reason why it does not open has its own words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.roots.devices import PIN, shim, softhsm
from tiktrue_keys.errors import (
    InsecureError,
    RefusedError,
    TikTrueKeysError,
    UnavailableError,
    UsageError,
    WrongMachineError,
)
from tiktrue_keys.roots.pkcs11 import Pkcs11, pkcs11_of

SECRET = bytes(range(32))
ONE, TWO = "pkcs11:token=one", "pkcs11:token=two"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return softhsm(tmp_path, monkeypatch, "one", "two")


def token(module: str, uri: str = ONE, pin: bytes = PIN.encode()) -> Pkcs11:
    return pkcs11_of({"module": module, "token": uri}, lambda: pin)


def unsealed(way: Pkcs11, blob: bytes) -> bytes:
    with way.unseal(blob) as secret:
        return bytes(secret.view)


def refusal(way: Pkcs11, blob: bytes) -> TikTrueKeysError:
    with pytest.raises(TikTrueKeysError) as caught:
        way.unseal(blob)
    assert caught.value.message.startswith("pkcs11: ")
    return caught.value


def test_a_token_opens_what_it_sealed_and_what_it_did_not_seal_has_its_own_words(module: str) -> None:
    blob = token(module).seal(memoryview(SECRET))
    assert unsealed(token(module), blob) == SECRET
    assert SECRET not in blob
    cases: list[tuple[Pkcs11, bytes, type[TikTrueKeysError], str]] = [
        (token(module, TWO), blob, WrongMachineError, "does not have the key"),
        (token(module), blob[:-1] + bytes([blob[-1] ^ 1]), WrongMachineError, "does not open what is in the slot"),
        (token(module), blob[:-1], WrongMachineError, "does not hold what a token sealed"),
        (token(module), b"", WrongMachineError, "does not hold what a token sealed"),
        (token(module, "pkcs11:token=three"), blob, UnavailableError, "the token is not there"),
        (token(module, "pkcs11:model=SoftHSM%20v2"), blob, UsageError, "2 tokens match"),
        (token(module, pin=b"9999"), blob, RefusedError, "does not take the PIN"),
        (token(module, pin=b""), blob, RefusedError, "does not take the PIN"),
        (token(module, pin=b"\xff"), blob, UsageError, "not UTF-8"),
    ]
    for way, given, kind, words in cases:
        error = refusal(way, given)
        assert (type(error), words in error.message) == (kind, True), error.message
        assert "9999" not in error.message + error.hint


def test_the_key_is_made_inside_and_cannot_be_taken_out(module: str) -> None:
    import pkcs11 as api

    blob = token(module).seal(memoryview(SECRET))
    with token(module)._session(writes=False) as (_, session):
        (key,) = session.get_objects({api.Attribute.CLASS: api.ObjectClass.SECRET_KEY})
        facts = {name: key[getattr(api.Attribute, name)] for name in ("SENSITIVE", "EXTRACTABLE", "LOCAL", "PRIVATE")}
        assert facts == {"SENSITIVE": True, "EXTRACTABLE": False, "LOCAL": True, "PRIVATE": True}
        assert key[api.Attribute.ID] == blob[1:17]
    token(module).discard(blob)
    assert "does not have the key" in refusal(token(module), blob).message


def test_a_forked_process_opens_it_too(module: str) -> None:
    blob = token(module).seal(memoryview(SECRET))
    child = os.fork()
    if child == 0:
        os._exit(0 if unsealed(token(module), blob) == SECRET else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert unsealed(token(module), blob) == SECRET


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ("a4", UnavailableError, "the token's PIN is locked"),  # CKR_PIN_LOCKED
        ("a3", RefusedError, "expired or was never set"),  # CKR_PIN_EXPIRED
        ("32", UnavailableError, "does not answer (DeviceRemoved)"),  # CKR_DEVICE_REMOVED
    ],
)
def test_a_login_that_fails_says_why(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, kind: type[Exception], words: str
) -> None:
    blob = token(module).seal(memoryview(SECRET))
    monkeypatch.setenv("SHIM_LOGIN", answer)
    error = refusal(token(shim(tmp_path)), blob)
    assert (type(error), words in error.message) == (kind, True), error.message


def test_a_module_that_others_can_replace_is_not_loaded(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace, built = tmp_path / "trace", shim(tmp_path)
    monkeypatch.setenv("SHIM_TRACE", str(trace))
    tmp_path.chmod(0o777)
    with pytest.raises(InsecureError, match="can be written by others"):
        token(built).seal(memoryview(SECRET))
    tmp_path.chmod(0o700)
    os.chmod(built, 0o666)
    with pytest.raises(InsecureError, match="can be written by others"):
        token(built).seal(memoryview(SECRET))
    assert not trace.exists()
    os.chmod(built, 0o600)
    token(built).seal(memoryview(SECRET))
    assert trace.read_text() == "loaded\n"


def test_what_is_not_a_module_is_unavailable(tmp_path: Path) -> None:
    pytest.importorskip("pkcs11")
    missing, text = tmp_path / "none.so", tmp_path / "text.so"
    text.write_text("not a library")
    for path in (missing, text):
        with pytest.raises(UnavailableError, match="pkcs11: "):
            token(str(path)).seal(memoryview(SECRET))


@pytest.mark.parametrize("values", [{}, {"module": "/m.so"}, {"module": "", "token": ONE}])
def test_a_missing_setting_is_named(values: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"the setting (module|token) is missing"):
        pkcs11_of(values, lambda: b"")
