"""The manifest's bytes: one spelling, a signature over all of it, and no path that leads out of the folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tiktrue_keys.core.canonical import canonical_json
from tiktrue_keys.core.derivation import signed_message
from tiktrue_keys.errors import IntegrityError, RefusedError
from tiktrue_keys.models.format.manifest import (
    MANIFEST_NAME,
    MAX_FILES,
    MAX_MANIFEST,
    ContainerEntry,
    Manifest,
    PlainEntry,
    SignedManifest,
    must_be_relative,
)

SIGNER = Ed25519PrivateKey.generate()
ISSUER = SIGNER.public_key().public_bytes_raw()
MANIFEST = Manifest(
    bytes(range(16)),
    "llama/7b",
    "llama",
    (
        PlainEntry("config.json", 3, bytes(32)),
        ContainerEntry("model.safetensors", 5000, bytes([1]) * 16, bytes([2]) * 32),
        ContainerEntry("sub/a.bin", 0, bytes([3]) * 16, bytes([4]) * 32),
    ),
)


def signed(manifest: Manifest = MANIFEST) -> SignedManifest:
    return SignedManifest.make(manifest, ISSUER, lambda data: SIGNER.sign(signed_message("manifest", data)))


def test_it_comes_back() -> None:
    again = SignedManifest.decode(signed().encode())
    again.verify(ISSUER)
    assert again == signed()
    assert [entry.place for entry in again.manifest.files] == ["config.json", "model.safetensors.ttm", "sub/a.bin.ttm"]
    assert len(again.manifest.containers) == 2
    assert len(again.manifest.plain) == 1


def test_its_signature_is_over_everything_and_by_one_keystore() -> None:
    for other in (
        replace(MANIFEST, name="other"),
        replace(MANIFEST, model_id="other"),
        replace(MANIFEST, folder_id=bytes(16)),
        replace(MANIFEST, files=MANIFEST.files[1:]),
    ):
        with pytest.raises(IntegrityError, match="signature"):
            replace(signed(), manifest=other).verify(ISSUER)
    with pytest.raises(IntegrityError, match="another keystore"):
        signed().verify(bytes(32))
    stranger = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    with pytest.raises(IntegrityError, match="signature"):
        replace(signed(), issuer=stranger).verify(stranger)


def edited(change: Callable[[dict[str, Any]], Any]) -> bytes:
    members = json.loads(signed().encode())
    change(members)
    return canonical_json(members)


BAD: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "not canonical": signed().encode() + b" ",
    "a member too many": edited(lambda m: m.update(more=1)),
    "a member too few": edited(lambda m: m.pop("issuer")),
    "a short issuer": edited(lambda m: m.update(issuer="00" * 31)),
    "an upper-case issuer": edited(lambda m: m.update(issuer="AA" * 32)),
    "no text": edited(lambda m: m.update(signature=5)),
    "a later version": edited(lambda m: m["manifest"].update(version=2)),
    "an inner member too many": edited(lambda m: m["manifest"].update(more=1)),
    "a container twice": edited(lambda m: m["manifest"]["files"].append(m["manifest"]["files"][1] | {"path": "z"})),
    "no files": edited(lambda m: m["manifest"].update(files=[])),
    "files that are none": edited(lambda m: m["manifest"].update(files=5)),
    "a file that is none": edited(lambda m: m["manifest"].update(files=["a"])),
    "an unknown kind": edited(lambda m: m["manifest"]["files"][0].update(kind="link")),
    "a file's member too many": edited(lambda m: m["manifest"]["files"][0].update(mode=5)),
    "a boolean length": edited(lambda m: m["manifest"]["files"][0].update(length=True)),
    "lengths above 53 bits": edited(lambda m: [file.update(length=2**52) for file in m["manifest"]["files"]]),
    "a negative length": edited(lambda m: m["manifest"]["files"][0].update(length=-1)),
    "a short root": edited(lambda m: m["manifest"]["files"][1].update(root="00")),
    "the wrong order": edited(lambda m: m["manifest"]["files"].reverse()),
    "a path twice": edited(lambda m: m["manifest"]["files"].insert(0, m["manifest"]["files"][0])),
    "a malformed model id": edited(lambda m: m["manifest"].update(model_id="/")),
    "a name with a slash": edited(lambda m: m["manifest"].update(name="a/b")),
    "the manifest's own place": edited(lambda m: m["manifest"]["files"][0].update(path=MANIFEST_NAME)),
}


@pytest.mark.parametrize("name", BAD)
def test_what_encode_would_not_write(name: str) -> None:
    with pytest.raises(IntegrityError):
        SignedManifest.decode(BAD[name])


def test_two_at_one_place() -> None:
    files = (ContainerEntry("a", 0, bytes(16), bytes(32)), PlainEntry("a.ttm", 0, bytes(32)))
    with pytest.raises(RefusedError, match="the same path"):
        replace(MANIFEST, files=files)


@pytest.mark.untraced  # tracing 65,537 files takes three times as long as checking them
def test_limits() -> None:
    files = tuple(PlainEntry(f"{number:05d}", 0, bytes(32)) for number in range(MAX_FILES + 1))
    assert len(replace(MANIFEST, files=files[1:]).files) == MAX_FILES
    with pytest.raises(RefusedError, match="1 to 65536 files"):
        replace(MANIFEST, files=files)
    long = tuple(PlainEntry(f"{number:05d}" + "/long" * 400, 0, bytes(32)) for number in range(MAX_MANIFEST // 2000))
    with pytest.raises(RefusedError, match="too many files"):
        signed(replace(MANIFEST, files=long)).encode()


@pytest.mark.parametrize(
    "path",
    ["", ".", "..", "/a", "a/", "a//b", "../a", "a/..", "a/./b", "a\\b", "a\nb", "a\x00", "x" * 256, "a/" * 1500],
)
def test_a_path_that_may_not_stand_in_a_manifest(path: str) -> None:
    with pytest.raises(RefusedError):
        must_be_relative(path)


@given(st.lists(st.from_regex(r"[A-Za-z0-9_ é-]{1,20}", fullmatch=True), min_size=1, max_size=5))
def test_ordinary_paths_may(parts: list[str]) -> None:
    must_be_relative("/".join(parts))
