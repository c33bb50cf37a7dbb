"""Hostile cards, envelopes and revocation lists: each rule of the page's section FLEET, as a node meets them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.independent.encoding import Signer, base64_of
from tests.independent.hostile import EXPIRED, INTEGRITY, OK, PARTIAL, REFUSED, Lair, Row, at_copies
from tests.independent.write_fleet import KEY_ID, Envelope, Peer, key_payload, write_round

OFFICE = Peer("head-office")
"""The issuer that each row's node has pinned."""
_OLD = 1_700_000_000
PLACES = ("--keystore", "at/keystore", "--host-secret", "at/host/secret")


def _card(name: str, code: int = INTEGRITY, /, *, write: Callable[[bytes], bytes] = bytes, **changes: Any) -> Row:
    peer = Peer("gpu-9", "node")
    card = write(peer.card(**changes))

    def make(lair: Lair) -> None:
        at_copies(lair)
        (lair.folder / "card").write_bytes(card)

    return Row(f"card, {name}", make, ("fleet", "add", "card", "--expect", peer.id, *PLACES), code)


CARDS = [
    _card("a good one", OK),
    _card("no newline", OK, write=lambda card: card[:-1]),
    _card("white space", write=lambda card: b" " + card),
    _card("two lines", write=lambda card: card + card),
    _card("empty", write=lambda _: b""),
    _card("10,000 bytes", write=lambda card: card + b"x" * 10_000),
    _card("nested 8,000 deep", write=lambda _: b"[" * 8000 + b"\n"),
    _card("signature of zeros", members={"signature": base64_of(bytes(64))}),
    _card("one member more, not signed", members={"note": ""}),
    _card("another name than was signed", members={"name": "gpu-8"}),
    _card("one member more", note=""),
    _card("version 1", REFUSED, type="tiktrue-card/1"),
    _card("another type", type="tiktrue-envelope/2"),
    _card("an unknown role", role="admin"),
    _card("role of an issuer", REFUSED, role="issuer"),
    _card("no name", name=""),
    _card("a name with a slash", name="../x"),
    _card("a name of 64 characters", name="n" * 64),
    _card("a name like a node id", name="a" * 32),
    _card("epoch 0", epoch=0),
    _card("negative instant", issued_at=-1),
    _card("keystore id too short", keystore_id="00"),
    _card("audit key too short", audit_key="00"),
    _card("X-Wing key of 1,215 bytes", identity_hpke=base64_of(bytes(1215))),
    _card("X-Wing key that is none", INTEGRITY, identity_hpke=base64_of(b"\xff" * 1216)),
    _card("base64 without padding", identity_hpke=base64_of(bytes(1216)).rstrip("=")),
    _card("another identity key", INTEGRITY, identity_key=Signer().public.hex()),
]


def _sent(name: str, write: Callable[[dict[str, Any]], bytes], code: int = INTEGRITY, *, takes: bool = False) -> Row:
    """A file of the node in a round of the issuer; the node may acknowledge, and must hold no new key."""

    def make(lair: Lair) -> None:
        at_copies(lair)
        node = lair.card
        write_round(lair.folder / "spool", OFFICE, 1, {lair.node_id: write(node)})

    words = ("fleet", "receive", "--via", "spool:spool", *PLACES)
    return Row(f"envelope, {name}", make, words, code, after=has_the_key if takes else _takes_nothing)


def _takes_nothing(lair: Lair) -> None:
    assert KEY_ID not in _listed(lair)


def has_the_key(lair: Lair) -> None:
    assert KEY_ID in _listed(lair)


def _listed(lair: Lair) -> str:
    return lair.program.run("list", "--all", "--json", *PLACES).stdout


def _envelope(name: str, code: int = INTEGRITY, /, *, takes: bool = False, **changes: Any) -> Row:
    def write(node: dict[str, Any]) -> bytes:
        options: dict[str, Any] = {"issuer": OFFICE, "node": node} | changes
        return Envelope(**options).encode() + b"\n"

    return _sent(name, write, code, takes=takes)


def _signed(name: str, code: int = INTEGRITY, /, **signed: Any) -> Row:
    return _envelope(name, code, signed=signed)


def _payload(name: str, /, **payload: Any) -> Row:
    return _envelope(f"payload, {name}", payload=key_payload(**payload))


def _audit(name: str, /, **audit: Any) -> Row:
    return _envelope(f"audit, {name}", audit=audit)


def _list(name: str, /, **changes: Any) -> Row:
    def write(node: dict[str, Any]) -> bytes:
        line = OFFICE.revocations(**changes).decode("utf-8", "surrogatepass")
        return Envelope(OFFICE, node, "revocation-list", {"list": line}).encode() + b"\n"

    return _sent(f"list, {name}", write)


_WITHOUT = {name: value for name, value in key_payload().items() if name != "licensed"}

ENVELOPES = [
    _envelope("a good one", OK, takes=True),
    _sent("junk", lambda _: b"junk\n" * 100, PARTIAL),
    _sent("NUL", lambda _: bytes(10_000), PARTIAL),
    _sent("a line of 70,000 bytes", lambda _: b"{" * 70_000 + b"\n", PARTIAL),
    _sent("nested 10,000 deep", lambda _: b'{"a":' * 10_000 + b"\n", PARTIAL),
    _envelope("by a stranger", PARTIAL, issuer=Peer("elsewhere")),
    _envelope("by a stranger in the issuer's name", PARTIAL, signed={"from": OFFICE.id}, issuer=Peer("elsewhere")),
    _envelope("signature of zeros", PARTIAL, members={"signature": base64_of(bytes(64))}),
    _envelope("a number that was not signed", PARTIAL, members={"number": 2}),
    _signed("version 1", PARTIAL, type="tiktrue-envelope/1"),
    _signed("one member more", PARTIAL, note=""),
    _signed("an unknown kind", PARTIAL, kind="gift"),
    _signed("to another node", PARTIAL, to="a" * 32),
    _signed("number 0", PARTIAL, number=0),
    _signed("stream 0", PARTIAL, stream=0),
    _signed("epoch 0", OK, epoch=0),
    _signed("number 2^31", PARTIAL, number=2**31),
    _signed("generation 0", generation=0),
    _signed("generation 2^31", PARTIAL, generation=2**31),
    _signed("generation true", PARTIAL, generation=True),
    _signed("a key id that is none", key_id="mistral"),
    _signed("no key id", key_id=""),
    _signed("valid no more", EXPIRED, valid_until=_OLD),
    _signed("sealed nothing", sealed=""),
    _signed("sealed zeros", sealed=base64_of(bytes(2000))),
    _signed("sealed not in base64", PARTIAL, sealed="*" * 2000),
    _envelope("sealed under another number", info={"number": 2}),
    _envelope("sealed under another key id", info={"key_id": "llama_0123456789abcdef"}),
    _envelope("contents empty", plaintext=b""),
    _envelope("contents a key alone", plaintext=b"\x20" + bytes(32)),
    _envelope("contents not JSON", plaintext=b"\0{"),
    _envelope("contents nested 10,000 deep", plaintext=b"\0" + b"[" * 10_000),
    _envelope("a key of 31 bytes", secret=bytes(31)),
    _envelope("a key of zeros", secret=bytes(32)),
    _envelope("contents, one member more", contents={"note": ""}),
    _envelope("contents, a receipt too short", contents={"receipt": "ab"}),
    _envelope("payload, one member less", payload=_WITHOUT),
    _payload("one member more", note=""),
    _payload("created in the future", created_at=2**40),
    _payload("expired before it was created", expires_at=1),
    _payload("a negative instant", decrypt_until=-1),
    _payload("licensed a number", licensed=1),
    _payload("17 labels", labels={f"l{number}": "x" for number in range(17)}),
    _payload("a label with an escape sequence", labels={"a": "\x1b[2J"}),
    _payload("a predecessor of another model", predecessor="llama_0123456789abcdef"),
    _payload("a predecessor that is no key id", predecessor="x"),
    _envelope("audit, a previous size that is not held", REFUSED, audit={"previous": 5}),
    _audit("a head too short", head="00"),
    _audit("a size of 0", size=0),
    _audit("129 hashes", proof=[base64_of(bytes(32))] * 129),
    _audit("a proof that proves nothing", proof=[base64_of(bytes(32))]),
    _envelope("audit, a base beyond the size", REFUSED, audit={"base": {"head": "00" * 32, "size": 9}}),
    _list("signature of zeros", members={"signature": base64_of(bytes(64))}),
    _list("version 1", type="tiktrue-revocation-list/1"),
    _list("one member more", note=""),
    _list("of another issuer", issuer="a" * 32),
    _list("number 0", number=0),
    _list("33 keys", revoked=[{"key_id": KEY_ID, "reason": "x", "revoked_at": 1}] * 33),
    _list("a key id that is none", revoked=[{"key_id": "x", "reason": "x", "revoked_at": 1}]),
    _list("a reason with an escape sequence", revoked=[{"key_id": KEY_ID, "reason": "\x1b[2J", "revoked_at": 1}]),
    _list("releases an object", releases={}),
    _envelope("list, not a line", kind="revocation-list", payload={"list": "x"}),
    _envelope(
        "promotion of a key that is not here",
        OK,
        kind="promote",
        payload={"decrypt_until": 2, "expires_at": 1, "overlap_ends_at": 0, "rotated_at": 0},
    ),
]
