"""man/tiktrue-keys-format.5 against the code: its tables are read from the page and compared with what is written."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import fields

from tests.format_page import PACKAGE, PAGE, REPOSITORY, rows, table
from tests.vectors.container_vectors import block_vectors, container_vectors
from tests.vectors.keystore_vectors import keystore_vectors
from tiktrue_keys.cli.program.catalog import CATALOG
from tiktrue_keys.core import derivation, names
from tiktrue_keys.core.audit import checkpoint
from tiktrue_keys.core.audit.record import RECORD_LIMIT, AuditRecord
from tiktrue_keys.core.canonical import parse_canonical
from tiktrue_keys.core.dispatch import outbox, releases, revocation_lists
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys import creation, licenses
from tiktrue_keys.core.keystore import document, schema, slots
from tiktrue_keys.core.machine import FactKind
from tiktrue_keys.fleet import acknowledgements, cards, challenges, envelopes
from tiktrue_keys.fleet.transports import spool_files
from tiktrue_keys.models.format import block, body, header, header_slots, manifest, recipient, trailer
from tiktrue_keys.models.format import detached_header as detached
from tiktrue_keys.models.format.kind import Kind

# Labels, types and kinds.


def _constant(node: ast.AST) -> bytes | None:
    """The bytes that an expression spells: a literal, a name of derivation.py, or their sum's fixed beginning."""
    if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
        return node.value
    if isinstance(node, ast.Name | ast.Attribute):
        name = node.id if isinstance(node, ast.Name) else node.attr
        value = getattr(derivation, name, None)
        return value if isinstance(value, bytes) else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left = _constant(node.left)
        right = _constant(node.right)
        return None if left is None or right is None else left + right
    return None


def _labels_in_code() -> Iterator[str]:
    """Every label in the package: constants, and constants put together where they are used."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            value = _constant(node) if isinstance(node, ast.Constant | ast.BinOp) else None
            if value is not None and re.fullmatch(rb"tiktrue-[a-z]+/[12](?: [a-z -]+)?\0?", value):
                yield value.rstrip(b"\0").decode()


def test_labels() -> None:
    known = {f"tiktrue-keys/1 {kind}" for kind in rows("signed types", title=True)}
    assert set(rows("labels")) == set(_labels_in_code()) | known


def test_every_constant_of_derivation_is_a_label_of_the_page() -> None:
    constants = {value for value in vars(derivation).values() if isinstance(value, bytes)} - {derivation.PREFIX}
    assert {value.decode() for value in constants} <= set(rows("labels"))


def test_signed_types() -> None:
    sources = [path.read_text() for path in sorted(PACKAGE.rglob("*.py"))]
    constants = {
        kind for text in sources for kind in re.findall(r'^[A-Z_]*SIGNATURE_KIND = "([a-z-]+)"', text, re.MULTILINE)
    }
    used = {kind for text in sources for kind in re.findall(r'\.sign(?:\(|, )"([a-z-]+)"', text)}
    assert set(rows("signed types", title=True)) == constants | used


def test_wrap_kinds() -> None:
    users = [path.read_text() for path in sorted(PACKAGE.rglob("*.py")) if "wrap_context(" in path.read_text()]
    constants = {kind for text in users for kind in re.findall(r'^_KIND = "([a-z-]+)"', text, re.MULTILINE)}
    assert set(rows("wrap kinds", title=True)) == constants | {kind.value for kind in header.WrapType}


def test_record_kinds() -> None:
    numbers = {int(line.split()[0]): line.split()[1] for line in table("record kinds") if not line.startswith(" ")}
    assert numbers == {kind.value: kind.name for kind in schema.RecordKind}


def test_facts() -> None:
    assert set(rows("facts", title=True)) == {kind.value for kind in FactKind}


# Members.


def test_members_of_the_keystores_header_and_audit_record() -> None:
    value = keystore_vectors()["keystore.json"]
    parsed = json.loads(value)
    stored = parse_canonical(parsed["document"].encode(), limit=schema.MAX_DOCUMENT, what="the document")
    assert set(rows("header members")) == set(stored) | {"former"}  # once there was a rekey
    assert all(f'"{name}"' in rows("header members")["format"] for name in document.FORMATS.values())
    record = AuditRecord.decode(parsed["audit"]["record"].encode())
    members = parse_canonical(record.encode(), limit=RECORD_LIMIT, what="the record")
    assert set(rows("audit members")) == set(members)
    assert set(rows("actor members")) == {each.name for each in fields(record.actor)}


def test_members_of_a_container() -> None:
    made = header.Header(bytes(16), "m", "n", Kind.OTHER, 1, header.Origin.KEYSTORE, (_wrap(),), body.SEGMENT_SIZE)
    members = parse_canonical(made.encode(), limit=header_slots.MAX_JSON, what="the header")
    assert set(rows("container members")) == set(members)
    assert set(rows("wrap members")) == set(members["wraps"][0])
    signed = trailer.signed_content(made, body.BodyHeader(bytes(32), bytes(7)), length=1, root=bytes(32))
    assert set(rows("signed members")) == set(parse_canonical(signed, limit=4096, what="the signed members"))
    for member, values in (("kind", Kind), ("origin", header.Origin)):
        assert set(re.findall('"([a-z]+)"', rows("container members")[member])) == {each.value for each in values}


def test_members_of_a_manifest() -> None:
    files = (
        manifest.ContainerEntry("a", 1, bytes(16), bytes(32)),
        manifest.PlainEntry("b", 1, bytes(32)),
    )
    signed = manifest.SignedManifest(manifest.Manifest(bytes(16), "m", "n", files), bytes(32), bytes(64))
    members = parse_canonical(signed.encode(), limit=manifest.MAX_MANIFEST, what="the manifest")
    assert set(rows("manifest file members")) == set(members)
    assert set(rows("manifest members")) == set(members["manifest"])
    listed = [line for line in PAGE.read_text().split("\n") if line.startswith('{"') and '"path"' in line]
    shapes = [set(re.findall(r'"([a-z_0-9]+)"', line)) for line in listed]
    assert shapes == [set(entry) | {entry["kind"]} for entry in members["manifest"]["files"]]
    assert manifest.MANIFEST_NAME in PAGE.read_text()


def _wrap() -> header.Wrap:
    return header.Wrap(header.WrapType.MANAGED_KEY, "m_0123456789abcdef", 1, bytes(60))


def test_members_of_a_recipient_file() -> None:
    content = recipient.Recipient("m", "m_0123456789abcdef", 1, Instant(0), Instant(1), b"", b"").content()
    assert set(rows("recipient file members")) == set(content) | {"signature"}


# Offsets: each field of the page holds, in bytes that were written, what it should.


def _fields(name: str) -> dict[int, tuple[int, str]]:
    found = {}
    for line in table(name)[1:]:
        parts = re.match(r"(\d+) +(\d+) +(.*)", line)
        if parts:
            found[int(parts[1])] = (int(parts[2]), parts[3])
    return found


def test_offsets_of_a_slot() -> None:
    container = container_vectors()["container-small.ttm"]
    fields, slot = _fields("slot fields"), container[: header_slots.SLOT_SIZE]
    assert list(fields) == [0, 4, 6, 8, 16, 20, 32, header_slots._MAC_AT]
    for at, expected in (
        (0, header_slots.MAGIC),
        (4, b"\0\1"),
        (6, b"\0\0"),
        (8, (1).to_bytes(8, "big")),
        (20, bytes(12)),
    ):
        assert (fields[at][0], slot[at : at + fields[at][0]]) == (len(expected), expected)
    length = int.from_bytes(slot[16 : 16 + fields[16][0]], "big")
    assert (
        slot[64 : 64 + length]
        == header_slots.decode_slots(container[: header_slots.HEADER_SIZE]).current.header.encode()
    )
    assert header_slots._MAC_AT + fields[header_slots._MAC_AT][0] == header_slots.SLOT_SIZE


def test_offsets_of_record_and_footer() -> None:
    made = trailer.Trailer(1, 100, b"R" * 32, b"L" * 32).signed(trailer.Signature(b"I" * 32, b"S" * 64))
    record, footer = made.encode_tail()[: trailer.RECORD_LENGTH], made.encode_tail()[trailer.RECORD_LENGTH :]
    values = {"version": b"\0\1", "flags": b"\0\1", "zero": b"\0\0", "segments": bytes(7) + b"\1"}
    values |= {"root": b"R" * 32, "issuer": b"I" * 32, "signature": b"S" * 64, "check": record[-16:]}
    sizes = {"length of the plaintext L": (100).to_bytes(8, "big"), "length of leaves": (200).to_bytes(8, "big")}
    for part, name, magic in ((record, "record fields", b"TTMR"), (footer, "footer fields", b"TTME")):
        end = 0
        for at, (length, words) in _fields(name).items():
            assert at == end
            end = at + length
            expected = next((value for word, value in (sizes | values).items() if words.startswith(word)), None)
            if words.startswith("magic"):
                expected = magic
            assert expected is None or part[at:end] == expected, words
        assert end == len(part)
    assert len(made.encode_tail()) - 56 == trailer.SIGNATURE_PLACE_FROM_END


def test_fields_of_a_block() -> None:
    lengths = [line.split("  ")[0].strip() for line in table("block fields")[1:] if not line.startswith(" ")]
    assert lengths == ["4", "1", "n", "4", "2", "m", "16", "60", "12", "rest"]
    envelope = bytes.fromhex(json.loads(block_vectors()["block.json"])["envelope"])
    assert f'"{envelope[:4].decode()}"' in table("block fields")[1]


def test_offsets_of_a_detached_header() -> None:
    own = header_slots.decode_slots(container_vectors()["container-small.ttm"][: header_slots.HEADER_SIZE])
    place = trailer.signature_place(b"R" * 32, trailer.Signature(b"I" * 32, b"S" * 64))
    written = detached.Detached(own.current.header.file_id, own, place).encode()
    values = {"magic": b"TTMH", "version": b"\0\1", "zero": b"\0\0", "file id": own.current.header.file_id}
    values |= {"slot": own.current.raw, "the same slot": own.current.raw}
    values |= {"issuer": b"I" * 32, "signature": b"S" * 64, "check": place[-16:]}
    end = 0
    for at, (length, words) in _fields("detached header fields").items():
        (expected,) = [value for word, value in values.items() if words.startswith(word)]
        assert (at, written[at : at + length]) == (end, expected), words
        end = at + length
    assert end == len(written)


# Numbers.


def _limits() -> dict[str, int]:
    found = {}
    for line in table("limits"):
        parts = re.fullmatch(r"(.*\S) {2,}(\d+)(?: bytes| characters)?", line)
        assert parts, line
        found[parts[1]] = int(parts[2])
    return found


def test_limits() -> None:
    assert _limits() == {
        "keystore header": schema.MAX_DOCUMENT,
        "path in a keystore header": document._MAX_PATH,
        "slots of a keystore": document.MAX_SLOTS,
        "costs": document.MAX_COSTS,
        "PBKDF2 rounds, least": derivation.PBKDF2_MIN_ROUNDS,
        "PBKDF2 rounds, most": derivation.PBKDF2_MAX_ROUNDS,
        "payload of a record": schema.MAX_RECORD,
        "payload of an audit record": schema.MAX_AUDIT_RECORD,
        "buckets": schema.BUCKETS,
        "tries of one opening": slots._MAX_TRIES,
        "license": licenses.MAX_LENGTH,
        "checkpoint note": checkpoint.NOTE_LIMIT,
        "slot of a container": header_slots.SLOT_SIZE,
        "detached header": detached.LENGTH,
        "JSON of a container's header": header_slots.MAX_JSON,
        "wraps of a container": header.MAX_WRAPS,
        "name of a container": header.MAX_NAME_BYTES,
        "wrapped key, HPKE": header.WRAP_LENGTHS[header.WrapType.HPKE],
        "generation": names.MAX_GENERATION,
        "segment": body.SEGMENT_SIZE,
        "segments of a container": body.MAX_SEGMENTS,
        "labels of a key": creation.MAX_LABELS,
        "manifest of a folder": manifest.MAX_MANIFEST,
        "files of a folder": manifest.MAX_FILES,
        "path in a manifest": manifest._MAX_PATH,
        "recipient file": recipient.MAX_RECIPIENT,
        "model block": block.MAX_BLOCK,
        "block id": block.MAX_BLOCK_ID,
        "card": cards.MAX_CARD,
        "envelope": envelopes.MAX_ENVELOPE,
        "contents of an envelope": envelopes.MAX_BODY,
        "hashes of a proof": envelopes.MAX_PROOF,
        "stream or number": outbox.MAX_NUMBER,
        "challenge": challenges.MAX_CHALLENGE,
        "acknowledgement": acknowledgements.MAX_ACKNOWLEDGEMENT,
        "results of an acknowledgement": acknowledgements.MAX_RESULTS,
        "keys of a revocation list": revocation_lists.KEYS_A_LIST,
        "releases of a revocation list": revocation_lists.RELEASES_A_LIST,
        "entries of a release": releases.MAX_ENTRIES,
        "withdrawn ids of a release": releases.MAX_WITHDRAWN,
        "lines of a file in a spool": spool_files.MAX_LINES,
        "file in a spool": spool_files.MAX_FILE,
    }


def test_tables_of_the_keystore() -> None:
    page = PAGE.read_text()
    statements = re.findall(r"^CREATE [^;]*;", page, re.MULTILINE)
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        schema.create_tables(connection)
        found = connection.execute("SELECT sql || ';' FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
    assert sorted(statements) == sorted(sql for (sql,) in found)
    assert f"{schema.APPLICATION_ID:#x}" in page


def test_what_is_not_built_is_not_there() -> None:
    """tiktrue-keys-security.7 lists it; whoever builds it takes it off the list and describes it."""
    page = (REPOSITORY / "man" / "tiktrue-keys-security.7").read_text()
    body = page.partition('.\\" list: not built\n')[2].partition("\n.El")[0]
    named = {name for line in re.findall(r"^\.It (.*)", body, re.MULTILINE) for name in line.split(" , ")}
    assert len(named) >= 1
    assert not named & set(CATALOG)
