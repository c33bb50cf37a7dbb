from __future__ import annotations

import base64

import pytest

from tests.core.approvals.approvers import ADA, ECDSA, ED25519, SK_ECDSA, SK_ED25519, Person, mpint, string
from tiktrue_keys.core.approvals.ssh_keys import SshKey, parse_public_key
from tiktrue_keys.errors import UsageError


def line(key_type: str, blob: bytes) -> bytes:
    return f"{key_type} {base64.b64encode(blob).decode()}\n".encode()


def rsa(bits: int, exponent: int = 65537) -> bytes:
    return line("ssh-rsa", string(b"ssh-rsa") + mpint(exponent) + mpint((1 << bits) - 1))


@pytest.mark.parametrize("key_type", [ED25519, ECDSA, SK_ED25519, SK_ECDSA])
def test_a_public_key_is_read_and_written(key_type: str) -> None:
    person = Person("ada", key_type)

    key = parse_public_key(person.line)

    assert key == SshKey(key_type, person.blob)
    assert parse_public_key(key.text.encode()) == key


def test_the_fingerprint_is_what_ssh_keygen_shows() -> None:
    key = parse_public_key(
        b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f a comment of words\n"
    )
    assert key.fingerprint == "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA"


@pytest.mark.parametrize("bits", [2048, 4096])
def test_rsa_of_usual_sizes_is_taken(bits: int) -> None:
    assert parse_public_key(rsa(bits)).type == "ssh-rsa"


P256 = b"ecdsa-sha2-nistp256"
POINT = string(b"\x04" + bytes(64))
BAD = {
    "nothing": b"",
    "one word": b"ssh-ed25519\n",
    "two keys": ADA.line + ADA.line,
    "options before it": b'cert-authority "x" ' + ADA.line,
    "a certificate": line("ssh-ed25519-cert-v01@openssh.com", b"x"),
    "a private key": b"-----BEGIN OPENSSH PRIVATE KEY-----",
    "a type that OpenSSH gave up": line("ssh-dss", string(b"ssh-dss")),
    "no base64": b"ssh-ed25519 AAAA!AAA\n",
    "another type inside": line(ED25519, string(b"ssh-rsa") + string(bytes(32))),
    "a type inside that is not text": line(ED25519, string(b"\xff") + string(bytes(32))),
    "a short key": line(ED25519, string(ED25519.encode()) + string(bytes(31))),
    "something after it": line(ED25519, ADA.blob + b"\0"),
    "cut off": line(ED25519, ADA.blob[:-1]),
    "a huge part": line(ED25519, string(ED25519.encode()) + b"\xff\xff\xff\xff"),
    "another curve": line(ECDSA, string(P256) + string(b"nistp384") + POINT),
    "a compressed point": line(ECDSA, string(P256) + string(b"nistp256") + string(b"\x02" + bytes(64))),
    "a short point": line(ECDSA, string(P256) + string(b"nistp256") + string(b"\x04")),
    "a security key without its application": line(SK_ED25519, string(SK_ED25519.encode()) + string(bytes(32))),
    "a security key of an empty application": line(
        SK_ED25519, string(SK_ED25519.encode()) + string(bytes(32)) + string(b"")
    ),
    "a short RSA key": rsa(2047),
    "a long RSA key": rsa(4097),
    "an RSA exponent of 1": rsa(2048, 1),
    "a long line": b"ssh-ed25519 " + b"A" * 9000,
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match="not an approver's public key"):
        parse_public_key(data)
