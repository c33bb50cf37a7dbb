from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.core.approvals.approvers import (
    ADA,
    ECDSA,
    ED25519,
    EVE,
    SK_ECDSA,
    SK_ED25519,
    Person,
    armored,
    needs_ssh_keygen,
    string,
)
from tiktrue_keys.core.approvals.ssh_signatures import SIGNATURE_LIMIT, SignatureVerifier, parse_signature
from tiktrue_keys.errors import IntegrityError, RefusedError, UnavailableError

TEXT = b"a plan\n"
VERSION = (1).to_bytes(4, "big")
REST = string(b"tiktrue-keys") + string(b"") + string(b"sha512")
GOOD = string(ED25519.encode()) + string(bytes(64))


@needs_ssh_keygen
@pytest.mark.parametrize("key_type", [ED25519, ECDSA, SK_ED25519, SK_ECDSA])
def test_a_signature_is_verified(key_type: str) -> None:
    person = Person("ada", key_type)
    signature, key, verifier = parse_signature(person.sign(TEXT)), person.approver.key, SignatureVerifier()

    assert signature.key == key.blob
    assert signature.counter == (7 if key_type.startswith("sk-") else None)
    assert verifier.verifies(signature, key, TEXT)
    assert not verifier.verifies(signature, key, TEXT + b"\n")
    assert not verifier.verifies(signature, EVE.approver.key, TEXT)


@needs_ssh_keygen
def test_a_signature_that_names_another_key_does_not_verify() -> None:
    signature = parse_signature(EVE.sign(TEXT, key=ADA.blob))

    assert signature.key == ADA.blob
    assert not SignatureVerifier().verifies(signature, ADA.approver.key, TEXT)


@pytest.mark.parametrize("key_type", [SK_ED25519, SK_ECDSA])
@pytest.mark.parametrize("flags", [0x00, 0x04, 0xFE])
def test_a_security_key_that_was_not_touched_is_refused(key_type: str, flags: int) -> None:
    with pytest.raises(RefusedError, match="without being touched"):
        parse_signature(Person("ada", key_type, flags=flags).sign(TEXT))


@pytest.mark.parametrize("counter", [0, 2**32 - 1])
def test_the_counter_may_be_anything(counter: int) -> None:
    assert parse_signature(Person("ada", SK_ECDSA, flags=0xFF, counter=counter).sign(TEXT)).counter == counter


@pytest.mark.parametrize("digest", ["sha256", "sha512"])
def test_both_hashes_are_taken(digest: str) -> None:
    assert parse_signature(ADA.sign(TEXT, digest=digest)).key == ADA.blob


SK_BLOB = Person("ada", SK_ED25519).blob
BAD = {
    "nothing": b"",
    "no armor": ADA.sign(TEXT).replace(b"BEGIN SSH", b"BEGIN PGP"),
    "no end": ADA.sign(TEXT).replace(b"-----END SSH SIGNATURE-----", b""),
    "two of them": ADA.sign(TEXT) * 2,
    "text before it": b"x\n" + ADA.sign(TEXT),
    "no base64": armored(b"x").replace(b"=", b"!"),
    "too long": ADA.sign(TEXT) + b"\n" * SIGNATURE_LIMIT,
    "another magic": armored(b"SSHSIH" + VERSION + string(ADA.blob) + REST + string(GOOD)),
    "a later version": armored(b"SSHSIG" + (2).to_bytes(4, "big") + string(ADA.blob) + REST + string(GOOD)),
    "another namespace": ADA.sign(TEXT, namespace="git"),
    "reserved bytes": armored(
        b"SSHSIG" + VERSION + string(ADA.blob) + REST.replace(string(b""), string(b"x"), 1) + string(GOOD)
    ),
    "another hash": ADA.sign(TEXT, digest="sha384"),
    "something after it": armored(b"SSHSIG" + VERSION + string(ADA.blob) + REST + string(GOOD) + b"\0"),
    "something after the signature": armored(b"SSHSIG" + VERSION + string(ADA.blob) + REST + string(GOOD + b"\0")),
    "another algorithm": armored(
        b"SSHSIG" + VERSION + string(ADA.blob) + REST + string(string(b"ssh-rsa") + string(bytes(64)))
    ),
    "a webauthn signature": armored(
        b"SSHSIG"
        + VERSION
        + string(Person("ada", SK_ECDSA).blob)
        + REST
        + string(string(b"webauthn-sk-ecdsa-sha2-nistp256@openssh.com") + string(bytes(64)) + b"\1" + bytes(4))
    ),
    "a security key's without flags": armored(
        b"SSHSIG" + VERSION + string(SK_BLOB) + REST + string(string(SK_ED25519.encode()) + string(bytes(64)))
    ),
    "a huge part": armored(b"SSHSIG" + VERSION + b"\xff\xff\xff\xff"),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="malformed"):
        parse_signature(data)


def program(folder: Path, text: str) -> Path:
    path = folder / "ssh-keygen"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def verify(path: Path, timeout: float = 10) -> bool:
    return SignatureVerifier(path, timeout).verifies(parse_signature(ADA.sign(TEXT)), ADA.approver.key, TEXT)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("echo 'No user exists for uid 7' >&2; exit 255", "does not work: No user exists for uid 7"),
        ("exit 3", "does not work: status 3"),
        ("kill -9 $$", "does not work: status -9"),
    ],
)
def test_an_ssh_keygen_that_does_not_work_is_not_a_bad_signature(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UnavailableError, match=words):
        verify(program(tmp_path, text))


def test_without_ssh_keygen_nothing_is_verified(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="is missing"):
        verify(tmp_path / "ssh-keygen")


def test_an_ssh_keygen_that_does_not_end_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"did not end within 0\.2 s"):
        verify(program(tmp_path, "exec sleep 60"), timeout=0.2)


def test_ssh_keygen_gets_the_policys_key_alone_and_no_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/agent")
    said = tmp_path / "said"

    assert verify(
        program(tmp_path, f'[ -z "$SSH_AUTH_SOCK" ] || exit 1; echo "$@" > {said}; cat "$4" >> {said}; cat >> {said}')
    )

    arguments, signers, text = said.read_text().splitlines()
    assert arguments.startswith("-Y verify -f /proc/self/fd/")
    assert signers == f'approver namespaces="tiktrue-keys" {ADA.approver.key.text}'
    assert text == TEXT.decode().strip()
    assert sorted(os.listdir(tmp_path)) == ["said", "ssh-keygen"]
