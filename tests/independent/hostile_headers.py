"""Hostile containers: each rule for slots, header and wraps, broken by one who may sign, seal and wrap."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.independent.encoding import base64_of, canonical, sha256, wrap, wrap_context
from tests.independent.hostile import INTEGRITY, NOT_FOUND, OK, Lair, Row, container
from tests.independent.write_container import SEGMENT, SLOT, Draft, ManagedKey

TEN_SEGMENTS = b"\7" * (10 * (SEGMENT - 16) - 40)


def draft(name: str, code: int = INTEGRITY, /, *words: str, **changes: Any) -> Row:
    return container(name, lambda lair: lair.draft(**changes), code, *words)


def _header(name: str, code: int = INTEGRITY, /, **members: Any) -> Row:
    return draft(f"header, {name}", code, header=members)


def _json(name: str, write: Callable[[bytes], bytes], code: int = INTEGRITY) -> Row:
    return draft(f"JSON, {name}", code, json=lambda members: write(canonical(members)))


def _fixed(name: str, /, **fields: bytes) -> Row:
    return draft(f"slot, {name}", fixed=fields)


def _wraps(name: str, make: Callable[[Lair, Draft], Any], code: int = INTEGRITY) -> Row:
    def change(lair: Lair) -> Draft:
        draft = lair.draft()
        return replace(draft, wraps=lambda _: make(lair, draft))

    return container(f"wraps, {name}", change, code)


def changed_bytes(name: str, change: Callable[[bytearray], object], code: int = INTEGRITY, **changes: Any) -> Row:
    """A good container whose bytes are changed afterwards, so that no checksum fits."""

    def make(lair: Lair) -> bytes:
        data = bytearray(lair.draft(**changes).encode())
        change(data)
        return bytes(data)

    return container(f"bytes, {name}", make, code)


def flip(at: int) -> Callable[[bytearray], object]:
    def flip(data: bytearray) -> None:
        data[at] ^= 1

    return flip


def cut(length: int) -> Callable[[bytearray], object]:
    def cut(data: bytearray) -> None:
        del data[length:]

    return cut


def _repeated(data: bytearray) -> None:
    """The newer slot is not authentic, the older one is."""
    other = bytearray(data[:SLOT])
    other[SLOT - 1] ^= 1
    other[15] += 1
    other[32:64] = bytes(32)
    other[32:64] = sha256(bytes(other))
    data[SLOT : 2 * SLOT] = other


_SLOTS = [
    draft("a good one", OK, "verify-model", "in.ttm"),
    draft("a good one of ten segments", OK, "verify-model", "in.ttm", plaintext=TEN_SEGMENTS),
    draft("a good one without leaves", OK, "verify-model", "in.ttm", listed=False),
    draft("a good one of nothing", OK, "verify-model", "in.ttm", plaintext=b""),
    draft("a newer second slot", OK, "verify-model", "in.ttm", sequence=(3, 4)),
    _fixed("magic", magic=b"TTM2"),
    _fixed("version 2", version=b"\0\2"),
    _fixed("version 0", version=b"\0\0"),
    _fixed("reserved bytes", zero=b"\0\1"),
    _fixed("more reserved bytes", zeros=bytes(11) + b"\1"),
    _fixed("length of JSON too long", length=(SLOT - 95).to_bytes(4, "big")),
    _fixed("length of JSON huge", length=b"\xff" * 4),
    _fixed("length of JSON too short", length=b"\0\0\0\2"),
    _fixed("length of JSON zero", length=bytes(4)),
    draft("slot, sequence number 0", sequence=(0, 0)),
    draft("slot, padding", padding=b"\1"),
    draft("slot, HMAC of another data key", mac_key=bytes(32)),
    changed_bytes("checksum of both slots", lambda data: (flip(40)(data), flip(SLOT + 40)(data))),
    changed_bytes("one torn slot", flip(100), OK),
    changed_bytes("two slots of one number that differ", _repeated, sequence=(1, 0)),
    changed_bytes("a newer slot that is not authentic", _repeated, sequence=(3, 3)),
    draft("last sequence number, decrypted", OK, "verify-model", "in.ttm", sequence=(2**64 - 1, 2**64 - 1)),
]

_JSON = [
    _json("white space", lambda data: b" " + data),
    _json("a newline at the end", lambda data: data + b"\n"),
    _json("a member twice", lambda data: b'{"file_id":"00",' + data[1:]),
    _json("members in another order", lambda data: json.dumps(dict(reversed(json.loads(data).items()))).encode()),
    _json("a number with a fraction", lambda data: data.replace(b'"length":72', b'"length":72.0')),
    _json("a number with an exponent", lambda data: data.replace(b'"length":72', b'"length":72e0')),
    _json("minus zero", lambda data: data.replace(b'"length":72', b'"length":-0')),
    _json("a number too large for 53 bits", lambda data: data.replace(b'"length":72', b'"length":9007199254740993')),
    _json("a number of 30,000 digits", lambda data: data.replace(b'"length":72', b'"length":' + b"7" * 30_000)),
    _json("an escape that is not needed", lambda data: data.replace(b'"other"', b'"\\u006fther"')),
    _json("a lone surrogate", lambda data: data.replace(b'"weights.bin"', b'"\\ud800"')),
    _json("bytes that are not UTF-8", lambda data: data.replace(b"weights", b"\xff\xfe")),
    _json("UTF-8 of a surrogate", lambda data: data.replace(b"weights", b"\xed\xa0\x80")),
    _json("nested 10,000 deep", lambda _: b"[" * 10_000 + b"]" * 10_000),
    _json("an array", lambda data: b"[" + data + b"]"),
    _json("nothing", lambda _: b""),
    _json("NaN", lambda data: data.replace(b'"length":72', b'"length":NaN')),
]

_HEADER = [
    _header("one member more", note="x"),
    draft("header, one member less", json=lambda members: canonical({k: v for k, v in members.items() if k != "kind"})),
    _header("file id too short", file_id="00"),
    _header("file id in capitals", file_id="AB" * 16),
    _header("file id of another body", file_id="ab" * 16),
    _header("unknown kind", kind="pickle"),
    _header("kind a list", kind=[]),
    _header("negative length", length=-1),
    _header("length true", length=True),
    _header("length of 3 TiB", length=3 << 40),
    _header("length of another body", length=71),
    _header("no length although the leaves are listed", length=None),
    draft("header, a length although no leaves are listed and another body", listed=False, header={"length": 71}),
    _header("model id empty", model_id=""),
    _header("model id of another model", model_id="llama2"),
    _header("model id like a key id", model_id="llama_0123456789abcdef"),
    _header("model id of 97 characters", model_id="m" * 97),
    _header("name empty", name=""),
    _header("name upwards", name=".."),
    _header("name with a folder", name="../../etc/passwd"),
    _header("name with a backslash", name="a\\b"),
    _header("name with NUL", name="a\0b"),
    _header("name with an escape sequence", name="\x1b[2J"),
    _header("name with a C1 control", name="a\x9bb"),
    _header("name from right to left", name="a\u202eb"),
    _header("name of 256 bytes", name="n" * 256),
    _header("name a number", name=5),
    _header("unknown origin", origin="nowhere"),
    _header("segments of 0 bytes", segment_size=0),
    _header("segments of 2 MiB", segment_size=2 * SEGMENT),
    _header("segments of 2^52 bytes", segment_size=2**52),
]


def _sorted(*wraps: dict[str, Any]) -> list[dict[str, Any]]:
    return sorted(wraps, key=lambda wrap: str(wrap["key_id"]))


def _hpke(length: int, *, stray: bool = False) -> dict[str, Any]:
    text = base64_of(bytes(length))
    return {"type": "hpke", "wrapped": text[:-3] + "B==" if stray else text}


def _wrapped(lair: Lair, draft: Draft, file_id: bytes | None = None, kind: str = "managed-key") -> str:
    key = lair.key
    context = wrap_context(kind, file_id or draft.file_id, key.model_id, key.key_id, key.generation)
    return base64_of(wrap(key.secret, draft.data_key, context))


_OTHER = ManagedKey("llama_0123456789abcdef", 1, bytes(32))

_WRAPS = [
    _wraps("none", lambda _, __: []),
    _wraps("65", lambda _, draft: [draft.good_wrap(key_id=f"llama_{number:016x}") for number in range(65)]),
    _wraps("an object", lambda _, draft: draft.good_wrap()),
    _wraps("a text", lambda _, __: ["wrap"]),
    _wraps("beside another key's", lambda _, draft: _sorted(draft.good_wrap(), draft.good_wrap(_OTHER)), OK),
    _wraps("out of order", lambda _, draft: _sorted(draft.good_wrap(), draft.good_wrap(_OTHER))[::-1]),
    _wraps("two for one key", lambda _, draft: [draft.good_wrap(generation=0), draft.good_wrap()]),
    _wraps("two generations for one key", lambda _, draft: [draft.good_wrap(), draft.good_wrap(generation=2)]),
    _wraps("two types for one key", lambda _, draft: [draft.good_wrap(**_hpke(1168)), draft.good_wrap()]),
    _wraps("one more member", lambda _, draft: [draft.good_wrap(note="")]),
    _wraps("unknown type", lambda _, draft: [draft.good_wrap(type="rsa")]),
    _wraps("no key id", lambda _, draft: [draft.good_wrap(key_id="llama")]),
    _wraps("key of another model", lambda _, draft: [draft.good_wrap(key_id="llama2_0123456789abcdef")]),
    _wraps("generation 0", lambda _, draft: [draft.good_wrap(generation=0)]),
    _wraps("generation 2^31", lambda _, draft: [draft.good_wrap(generation=2**31)]),
    _wraps("generation true", lambda _, draft: [draft.good_wrap(generation=True)]),
    _wraps("another generation", lambda lair, draft: [draft.good_wrap(replace(lair.key, generation=2))]),
    _wraps("59 bytes", lambda _, draft: [draft.good_wrap(wrapped=base64_of(bytes(59)))]),
    _wraps("base64 without padding", lambda _, draft: [draft.good_wrap(wrapped=base64_of(bytes(60))[:-1])]),
    _wraps("base64 with stray bits", lambda _, draft: [draft.good_wrap(**_hpke(1168, stray=True))]),
    _wraps("hpke of 1,167 bytes", lambda _, draft: [draft.good_wrap(**_hpke(1167))]),
    _wraps("dead", lambda _, draft: [draft.good_wrap(wrapped=base64_of(bytes(60)))]),
    _wraps("dead hpke", lambda _, draft: [draft.good_wrap(**_hpke(1168))]),
    _wraps("of another file", lambda lair, draft: [draft.good_wrap(wrapped=_wrapped(lair, draft, bytes(16)))]),
    _wraps("of another kind", lambda lair, draft: [draft.good_wrap(wrapped=_wrapped(lair, draft, kind="model-block"))]),
    _wraps("of a short data key", lambda lair, draft: [draft.good_wrap(wrapped=_wrapped(lair, draft)[:-4] + "AAA=")]),
    _wraps("for a key that is not here", lambda _, draft: [draft.good_wrap(_OTHER)], NOT_FOUND),
]


HEADERS = [*_SLOTS, *_JSON, *_HEADER, *_WRAPS]
