"""Published vectors through our own functions, and what every derivation is bound to."""

from __future__ import annotations

import hashlib
import hmac
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from tiktrue_keys.core import derivation
from tiktrue_keys.core.derivation import PBKDF2_MAX_ROUNDS, PBKDF2_MIN_ROUNDS
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import IntegrityError

VECTORS = Path(__file__).parents[1] / "vectors"
SECRET = memoryview(bytes(range(32)))
OTHER = memoryview(bytes(range(1, 33)))
ID = bytes(16)


def vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


def taken(secret: SecretBuffer) -> bytes:
    with secret:
        return bytes(secret.view)


def the(**members: str) -> dict[str, bytes]:
    return {name: bytes.fromhex(value) for name, value in members.items()}


@pytest.mark.parametrize("case", vectors("hkdf-sha256.json")["cases"], ids=lambda case: case["section"])
def test_hkdf_of_rfc_5869(case: dict[str, Any]) -> None:
    at = the(secret=case["secret"], salt=case["salt"], info=case["info"])
    with derivation.hkdf(at["secret"], salt=at["salt"], info=at["info"], length=case["length"]) as output:
        assert output.view.hex() == case["output"]


@pytest.mark.parametrize("case", vectors("pbkdf2-hmac-sha256.json")["cases"], ids=lambda case: case["password"])
def test_pbkdf2_of_rfc_7914_as_the_primitive_and_its_second_implementation_give_it(case: dict[str, Any]) -> None:
    password, salt, rounds = case["password"].encode(), case["salt"].encode(), case["rounds"]
    assert PBKDF2HMAC(SHA256(), 64, salt, rounds).derive(password).hex() == case["output"]
    assert hashlib.pbkdf2_hmac("sha256", password, salt, rounds, 64).hex() == case["output"]


def test_a_stretched_license_is_pbkdf2_as_the_second_implementation_gives_it() -> None:
    # The published vectors have fewer rounds than a keystore may ask for.
    with derivation.stretch_license(
        memoryview(b"passwd"), salt=b"salt", rounds=PBKDF2_MIN_ROUNDS, version=1
    ) as stretched:
        assert stretched.view == hashlib.pbkdf2_hmac("sha256", b"passwd", b"salt", PBKDF2_MIN_ROUNDS)


@pytest.mark.parametrize("rounds", [-1, 0, 1, PBKDF2_MIN_ROUNDS - 1, PBKDF2_MAX_ROUNDS + 1, 2**62])
def test_a_keystore_that_asks_for_too_little_or_too_much_work_is_refused_at_once(rounds: int) -> None:
    with pytest.raises(IntegrityError, match="rounds"):
        derivation.stretch_license(memoryview(b"passwd"), salt=b"salt", rounds=rounds, version=2)


@pytest.mark.parametrize("case", vectors("x-wing.json")["cases"], ids=lambda case: case["seed"][:8])
def test_the_public_half_of_an_x_wing_seed_is_the_drafts(case: dict[str, str]) -> None:
    assert derivation.x_wing_public_bytes(memoryview(bytes.fromhex(case["seed"]))).hex() == case["public_key"]


@pytest.mark.parametrize("case", vectors("x-wing.json")["cases"], ids=lambda case: case["seed"][:8])
def test_hpke_with_our_pair_decapsulates_to_the_drafts_shared_secret(case: dict[str, str]) -> None:
    at = the(**case)
    sealed = hpke_sealed(at["shared_secret"], b"a data key", info=b"wrap")
    private, _ = derivation.x_wing_pair(memoryview(at["seed"]))
    suite = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    assert suite.decrypt(at["ciphertext"] + sealed, private, b"wrap") == b"a data key"


def hpke_sealed(shared_secret: bytes, plaintext: bytes, *, info: bytes) -> bytes:
    """What HPKE (RFC 9180, section 5.1, mode base, AES-256-GCM) seals once its KEM has given `shared_secret`."""
    suite = b"HPKE" + bytes.fromhex("647a00010002")

    def extract(salt: bytes, label: bytes, secret: bytes) -> bytes:
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + secret, "sha256")

    def expand(key: bytes, label: bytes, context: bytes, length: int) -> bytes:
        labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + context
        return HKDFExpand(SHA256(), length, labelled).derive(key)

    context = b"\0" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    secret = extract(shared_secret, b"secret", b"")
    key, nonce = expand(secret, b"key", context, 32), expand(secret, b"base_nonce", context, 12)
    return AESGCM(key).encrypt(nonce, plaintext, b"")


def test_the_hpke_half_of_a_managed_key_opens_what_its_public_half_sealed_and_no_other() -> None:
    suite = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    private, public = derivation.managed_key_hpke(SECRET)
    sealed = suite.encrypt(b"a data key", public, b"info")
    assert suite.decrypt(sealed, private, b"info") == b"a data key"
    stranger, _ = derivation.managed_key_hpke(OTHER)
    with pytest.raises(InvalidTag):
        suite.decrypt(sealed, stranger, b"info")


def labels() -> dict[str, bytes]:
    found = {name: value for name, value in vars(derivation).items() if name.isupper() and isinstance(value, bytes)}
    del found["PREFIX"]
    return found


def test_no_label_is_anothers_beginning() -> None:
    # A label is followed by a zero byte and its context, or by nothing: prefixes could be confused, others cannot.
    assert len(labels()) >= 13
    for one, other in combinations(labels().values(), 2):
        assert one != other
        assert not one.startswith(other + b"\0")
        assert not other.startswith(one + b"\0")
    others = {label for label in labels().values() if not label.startswith(b"tiktrue-keys/1 ")}
    assert others == {b"tiktrue-model/1", b"tiktrue-keys/2 license"}  # associated data of Tink's format; an HMAC's key


def test_every_label_gives_another_key() -> None:
    made = {taken(derivation.subkey(SECRET, label)) for label in labels().values()}
    assert len(made) == len(labels())
    assert taken(derivation.subkey(SECRET, b"l", b"a")) != taken(derivation.subkey(SECRET, b"l"))


def slot_key(**changes: Any) -> bytes:
    anchors = [("nic", "aa"), ("disk", "bb")]
    members: dict[str, Any] = {"host_secret": SECRET, "anchors": anchors, "salt": b"s" * 32, "keystore_id": ID}
    return taken(derivation.slot_key(**(members | changes)))


@pytest.mark.parametrize(
    "changes",
    [
        {"host_secret": OTHER},
        {"anchors": [("disk", "bb"), ("nic", "aa")]},
        {"anchors": [("nic", "aad"), ("isk", "bb")]},
        {"anchors": [("nic", "aa")]},
        {"anchors": []},
        {"salt": b"t" * 32},
        {"keystore_id": bytes(15) + b"\1"},
    ],
)
def test_a_slot_key_hangs_on_everything_that_goes_into_it(changes: dict[str, Any]) -> None:
    assert slot_key() == slot_key()
    assert slot_key(**changes) != slot_key()


def test_the_license_key_hangs_on_the_license_and_the_machine() -> None:
    made = [
        taken(derivation.license_kek(stretched, root))
        for stretched, root in ((SECRET, OTHER), (OTHER, OTHER), (SECRET, SECRET))
    ]
    assert len(set(made)) == len(made)
    assert derivation.license_tag(SECRET, OTHER) != derivation.license_tag(SECRET, SECRET)
    assert derivation.license_tag(SECRET, OTHER) != made[0][:16]


@pytest.mark.parametrize(
    "changes",
    [{"file_id": b"1" * 16}, {"model_id": "mm"}, {"key_id": "mk"}, {"generation": 2}, {"kind": "managed-kez"}],
)
def test_a_wrap_is_bound_to_its_kind_file_model_key_and_generation(changes: dict[str, Any]) -> None:
    members: dict[str, Any] = {"kind": "managed-key", "file_id": ID, "model_id": "m", "key_id": "m_k", "generation": 1}
    assert derivation.wrap_context(**(members | changes)) != derivation.wrap_context(**members)


def test_a_tag_tells_kinds_and_names_apart() -> None:
    made = {derivation.keyed_tag(SECRET, kind, name) for kind in (1, 2) for name in ("a", "ab", "b")}
    assert len(made) == 6
    assert all(len(tag) == 16 for tag in made)


def test_what_is_signed_says_what_it_is() -> None:
    assert derivation.signed_message("container", b"{}") == b"tiktrue-keys/1 container\0{}"
