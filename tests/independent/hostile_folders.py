"""Hostile folders and recipient files: each rule of the page's sections ENCRYPTED FOLDER and RECIPIENT FILE."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.independent.encoding import base64_of, canonical
from tests.independent.hostile import EXPIRED, INSECURE, INTEGRITY, NOT_FOUND, OK, REFUSED, Lair, Row
from tests.independent.write_folder import (
    MANIFEST,
    Recipient,
    listed,
    plain,
    rfc3339,
    signed_manifest,
    write_folder,
)

_CONFIG = b'{"layers": 2}'
_DECRYPT = ("decrypt-model", "in.ttm", "-o", "out")
_PATHS = ("", ".", "..", "../out", "/etc/passwd", "a//b", "a/", "a/../../b", "a\\b", "a\0b", "a\x1bb", "p" * 2049)
_Files = list[dict[str, Any]]


def _folder(
    name: str,
    change: Callable[[_Files], object] = lambda files: None,
    code: int = INTEGRITY,
    /,
    *,
    words: tuple[str, ...] = _DECRYPT,
    after: Callable[[Path, Lair], object] = lambda folder, lair: None,
    **members: Any,
) -> Row:
    """A folder of a container and a plain file; `change` gets the list of files before it is signed."""

    def make(lair: Lair) -> None:
        draft = lair.draft()
        data = draft.encode()
        files = [plain("config.json", _CONFIG), listed("weights.bin", draft, data)]
        change(files)
        manifest = signed_manifest(lair.signer, lair.key.model_id, files, **members)
        write_folder(lair.folder / "in.ttm", {"config.json": _CONFIG, "weights.bin.ttm": data}, manifest)
        after(lair.folder / "in.ttm", lair)

    return Row(f"folder, {name}", make, words, code)


def _entry(name: str, number: int, code: int = INTEGRITY, /, **members: Any) -> Row:
    """Members of the plain file (0) or of the container (1)."""
    return _folder(name, lambda files: files[number].update(members), code)


def _written(name: str, write: Callable[[bytes], bytes], code: int = INTEGRITY) -> Row:
    def after(folder: Path, _: Lair) -> None:
        (folder / MANIFEST).write_bytes(write((folder / MANIFEST).read_bytes()))

    return _folder(f"manifest, {name}", lambda files: None, code, after=after)


def _with(name: str, act: Callable[[Path], object], code: int = INTEGRITY) -> Row:
    return _folder(name, lambda files: None, code, after=lambda folder, _: act(folder))


def _outer(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    def write(data: bytes) -> bytes:
        members = json.loads(data)
        change(members)
        return canonical(members)

    return write


def _strangers(folder: Path, lair: Lair) -> None:
    inner = json.loads((folder / MANIFEST).read_bytes())["manifest"]
    signature = lair.stranger.sign("manifest", inner).hex()
    members = {"issuer": lair.stranger.public.hex(), "manifest": inner, "signature": signature}
    (folder / MANIFEST).write_bytes(canonical(members))


def _replaced(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def _linked(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


FOLDERS = [
    _folder("a good one", lambda files: None, OK, words=("verify-model", "in.ttm")),
    _written("white space", lambda data: data + b"\n"),
    _written("one member more", _outer(lambda members: members.update(note=""))),
    _written("no issuer", _outer(lambda members: members.pop("issuer"))),
    _written("issuer in capitals", _outer(lambda members: members.update(issuer=members["issuer"].upper()))),
    _written("signature of zeros", _outer(lambda members: members.update(signature="00" * 64))),
    _written("a file taken out", _outer(lambda members: members["manifest"]["files"].pop())),
    _written("empty", lambda _: b""),
    _written("cut", lambda data: data[:100]),
    _written("nested 100,000 deep", lambda _: b"[" * 100_000),
    _written("a number of 100,000 digits", lambda data: data.replace(b'"version":1', b'"version":' + b"1" * 100_000)),
    _folder("manifest, signed by a stranger", lambda files: None, INTEGRITY, after=_strangers),
    _folder("version 2", version=2),
    _folder("another model", model_id="llama2"),
    _folder("no model", model_id=""),
    _folder("a name with a folder", name="../x"),
    _folder("one member more", note=""),
    _folder("folder id too short", folder_id="00"),
    _folder("no files", lambda files: files.clear()),
    _folder("files an object", files={}),
    _folder("files in another order", lambda files: files.reverse()),
    _folder("a path twice", lambda files: files.insert(0, files[0])),
    _folder("a file id twice", lambda files: files.append(files[1] | {"path": "z"})),
    _folder("65,537 files", lambda files: files.extend(plain(f"z{number:06d}", b"") for number in range(65_536))),
    _folder("two at one place", lambda files: files.append(plain("weights.bin.ttm", b""))),
    _folder("the place of the manifest", lambda files: files.append(plain(MANIFEST, b""))),
    *(_entry(f"path {path[:20]!r}", 0, path=path) for path in _PATHS),
    _entry("path a number", 0, path=5),
    _entry("unknown kind", 0, kind="link"),
    _entry("a plain file with a root", 0, root="00" * 32),
    _entry("SHA-256 of another file", 0, sha256="00" * 32),
    _entry("SHA-256 too short", 0, sha256="00"),
    _entry("length of another plain file", 0, length=1),
    _entry("length of 2^53 - 1, a plain file's", 0, length=2**53 - 1),
    _entry("length of 2^53 - 1", 1, length=2**53 - 1),
    _entry("length of 2^53", 1, length=2**53),
    _entry("length of another container", 1, length=1),
    _entry("negative length", 1, length=-1),
    _entry("file id of another container", 1, file_id="00" * 16),
    _entry("root of another container", 1, root="00" * 32),
    _with("a file missing", lambda folder: (folder / "config.json").unlink()),
    _with("a file more", lambda folder: (folder / "more").write_bytes(b"")),
    _with("a plain file changed", lambda folder: (folder / "config.json").write_bytes(_CONFIG[::-1])),
    _with("a plain file of 1 TiB", lambda folder: os.truncate(folder / "config.json", 1 << 40)),
    _with("a container cut", lambda folder: os.truncate(folder / "weights.bin.ttm", 70_000)),
    _with("a link for a plain file", lambda folder: _linked(folder / "config.json", "/etc/passwd"), INSECURE),
    _with("a FIFO for a plain file", lambda folder: _replaced(folder / "config.json", os.mkfifo), REFUSED),
    _with("a FIFO for a container", lambda folder: _replaced(folder / "weights.bin.ttm", os.mkfifo)),
    _with("a folder for a plain file", lambda folder: _replaced(folder / "config.json", os.mkdir)),
    _with("a FIFO for the manifest", lambda folder: _replaced(folder / MANIFEST, os.mkfifo), REFUSED),
    _with("a link for the manifest", lambda folder: _linked(folder / MANIFEST, "config.json"), INSECURE),
    _with("a manifest of 1 TiB", lambda folder: os.truncate(folder / MANIFEST, 1 << 40)),
    _with("no manifest", lambda folder: (folder / MANIFEST).unlink(), NOT_FOUND),
    *(
        _folder(f"another length, {words[0]}", lambda files: files[1].update(length=71), code, words=words)
        for words, code in (
            (("verify-model", "in.ttm"), INTEGRITY),
            (("reencrypt-model", "in.ttm"), INTEGRITY),
            (("rewrap-model", "in.ttm"), 7),
        )
    ),
]


def _recipient(name: str, code: int = INTEGRITY, /, **changes: Any) -> Row:
    return _recipient_file(name, lambda: Recipient(**changes).encode(), code)


def _signed(name: str, code: int = INTEGRITY, /, **members: Any) -> Row:
    return _recipient(name, code, signed=members)


def _recipient_file(name: str, write: Callable[[], bytes], code: int = INTEGRITY) -> Row:
    def make(lair: Lair) -> None:
        (lair.folder / "plain").write_bytes(b"weights")
        (lair.folder / "model.pub").write_bytes(write())

    words = ("encrypt-model", "plain", "-o", "out.ttm", "--recipient", "model.pub")
    return Row(f"recipient, {name}", make, words, code)


def _good() -> bytes:
    return Recipient().encode()


RECIPIENTS = [
    _recipient("a good one", OK),
    _recipient_file("no newline", lambda: _good()[:-1]),
    _recipient_file("two newlines", lambda: _good() + b"\n"),
    _recipient_file("white space", lambda: b" " + _good()),
    _recipient_file("empty", lambda: b""),
    _recipient_file("a newline alone", lambda: b"\n"),
    _recipient_file("9,000 bytes", lambda: _good() + b" " * 7000),
    _recipient_file("not text", lambda: bytes(range(256))),
    _recipient("signature of zeros", members={"signature": "00" * 64}),
    _recipient("period changed after it was signed", members={"not_after": "2099-01-01T00:00:00Z"}),
    _recipient("one member more, not signed", members={"note": ""}),
    _signed("one member more", note=""),
    _signed("another type", type="tiktrue-keys card"),
    _signed("version 2", version=2),
    _signed("key of another model", model_id="llama2"),
    _signed("no key id", key_id="llama"),
    _signed("generation 0", generation=0),
    _signed("generation 2^31", generation=2**31),
    _signed("issuer too short", issuer="00"),
    _signed("issuer that is no point", issuer="ff" * 32),
    _signed("public half of 1,215 bytes", public=base64_of(bytes(1215))),
    _signed("public half that is no key", REFUSED, public=base64_of(b"\xff" * 1216)),
    _signed("public half in base64 without padding", public=base64_of(bytes(1216)).rstrip("=")),
    _signed("time with a fraction", not_before="2026-11-24T07:00:00.0Z"),
    _signed("time with an offset", not_before="2026-11-24T07:00:00+01:00"),
    _signed("the 30th of February", not_before="2026-02-30T07:00:00Z"),
    _signed("time a number", not_after=5),
    _signed("period over", EXPIRED, not_after=rfc3339(int(time.time()) - 10)),
]
