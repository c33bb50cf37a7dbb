"""man/tiktrue-keys-format.5 against the code: its tables are read from the page and compared with what is written."""

from __future__ import annotations

import ast
import base64
import contextlib
import json
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.fleet import Fleet, fleet_in_memory
from tests.keystores import LICENSE
from tests.vectors.container_vectors import block_vectors, container_vectors
from tests.vectors.keystore_vectors import keystore_vectors
from tiktrue_keys.cli.catalog import CATALOG
from tiktrue_keys.core import derivation
from tiktrue_keys.core.acts import generate, keyring, licenses, lists
from tiktrue_keys.core.acts.files import FileAct
from tiktrue_keys.core.audit import checkpoint
from tiktrue_keys.core.audit.record import RECORD_LIMIT, AuditRecord
from tiktrue_keys.core.canonical import joined, parse_canonical
from tiktrue_keys.core.fingerprint import candidates
from tiktrue_keys.core.instants import DAY, Instant, Seconds
from tiktrue_keys.core.keystore import document, schema
from tiktrue_keys.core.keystore.identity import open_seed
from tiktrue_keys.core.machine import FactKind, MachineFacts
from tiktrue_keys.core.machine.facts import Fact
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.fleet import acknowledgements, cards, envelopes, hpke
from tiktrue_keys.fleet.epochs import accept_epoch
from tiktrue_keys.fleet.pinning import own_card, remove
from tiktrue_keys.fleet.status import fleet_status
from tiktrue_keys.fleet.syncing import distribute
from tiktrue_keys.models import blocks, header, manifest, recipients, slots, streaming_aead, trailer
from tiktrue_keys.models.kinds import Kind

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / "man" / "tiktrue-keys-format.5"
PACKAGE = REPOSITORY / "tiktrue_keys"


def table(name: str) -> list[str]:
    """The lines of the literal display that follows the comment `table: name`."""
    _, found, rest = PAGE.read_text().partition(f'.\\" table: {name}\n')
    assert found, f"the page has no table '{name}'"
    body = rest.partition(".Bd -literal\n")[2].partition("\n.Ed")[0]
    return body.split("\n")


def rows(name: str, *, title: bool = False) -> dict[str, str]:
    """First column (up to two blanks) and the rest, continuation lines joined."""
    found: dict[str, str] = {}
    key = ""
    for line in table(name)[1 if title else 0 :]:
        first, _, rest = line.partition("  ")
        if line.startswith(" "):
            found[key] += f" {line.strip()}"
        else:
            key = first.strip()
            found[key] = f"{found[key]} {rest.strip()}" if key in found else rest.strip()
    return found


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
            if value is not None and re.fullmatch(rb"tiktrue-[a-z]+/1(?: [a-z -]+)?\0?", value):
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


_WITHOUT_RECORDS = {"ESCROW", "UNLOCK", "APPROVAL"}
_SOMETIMES = {"KEY": set(keyring._STORED) | {"wrapped"}, "ROTATION": {"promote_at", "min_acks"}}


def _page_members(kind: str) -> set[str]:
    text = re.sub(r"\([^()]*\)", "", rows("payloads")[kind])
    return {part.strip() for part in re.split("[,;:]", text) if re.fullmatch("[a-z_]+", part.strip())}


def test_members_of_the_keystores_header_and_audit_record() -> None:
    value = keystore_vectors()["keystore.json"]
    parsed = json.loads(value)
    stored = parse_canonical(parsed["document"].encode(), limit=schema.MAX_DOCUMENT, what="the document")
    assert set(rows("header members")) == set(stored)
    assert f'"{document.FORMAT}"' in rows("header members")["format"]
    record = AuditRecord.decode(parsed["audit"]["record"].encode())
    members = parse_canonical(record.encode(), limit=RECORD_LIMIT, what="the record")
    assert set(rows("audit members")) == set(members)


def test_members_of_a_container() -> None:
    made = header.Header(
        bytes(16), "m", "n", Kind.OTHER, 1, header.Origin.KEYSTORE, (_wrap(),), streaming_aead.SEGMENT_SIZE
    )
    members = parse_canonical(made.encode(), limit=slots.MAX_JSON, what="the header")
    assert set(rows("container members")) == set(members)
    assert set(rows("wrap members")) == set(members["wraps"][0])
    signed = trailer.signed_content(made, streaming_aead.BodyHeader(bytes(32), bytes(7)), length=1, root=bytes(32))
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
    content = recipients.Recipient("m", "m_0123456789abcdef", 1, Instant(0), Instant(1), b"", b"").content()
    assert set(rows("recipient file members")) == set(content) | {"signature"}


def test_members_of_what_a_fleet_exchanges() -> None:
    """Card, envelopes of every kind with their contents, revocation list and acknowledgement, as they were written."""
    with fleet_in_memory("n1") as fleet:
        node, lines = fleet.nodes["n1"], _lines_of_every_kind(fleet)
        assert set(json.loads(own_card(node)[1])) == set(rows("card members"))
        opened = {kind: _opened(node, line) for kind, line in lines.items()}
        [(_, said)] = fleet.transport.acknowledgements(fleet.node_id(fleet.admin), [fleet.node_id(node)])
    assert set(opened) == set(rows("envelope payloads"))
    for kind, (members, contents) in opened.items():
        assert set(members) == set(rows("envelope members"))
        assert set(contents) == set(rows("envelope contents"))
        assert _in_braces(rows("envelope contents")["audit"]) == set(contents["audit"])
        written = re.sub(r"\([^()]*\)", "", rows("envelope payloads")[kind]).split(":")[0].split(",")
        assert set(contents["payload"]) == (set() if kind == "void" else {name.strip() for name in written})
    revocations = json.loads(opened["revocation-list"][1]["payload"]["list"])
    assert set(revocations) == set(rows("list members"))
    assert _in_braces(rows("list members")["revoked"]) == set(revocations["revoked"][0])
    acknowledgement = json.loads(said)
    assert set(acknowledgement) == set(rows("acknowledgement members"))
    assert _in_braces(rows("acknowledgement members")["results"]) == set(acknowledgement["results"][0])
    assert _in_braces(rows("acknowledgement members")["audit"]) == set(acknowledgement["audit"])


def _lines_of_every_kind(fleet: Fleet) -> dict[str, bytes]:
    """An envelope of each kind; a key that is revoked before it was sent leaves a void in its place."""
    fleet.deliver()
    fleet.admin.rotate(["llama"], license_key=LICENSE, notify=["n1"], prepublish=Seconds(0))
    fleet.deliver()
    lines = fleet.lines("n1")
    fleet.receive("n1")
    fleet.sync()
    fleet.admin.rotate(["llama"], license_key=LICENSE, notify=["n1"])
    fleet.admin.revoke([fleet.key.key_id], reason="reason")
    fleet.sync()
    lines += fleet.lines("n1")
    fleet.receive("n1")
    return {json.loads(line)["kind"]: line for line in lines}


def _opened(node: KeyManager, line: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """The clear members, and those of the plaintext, opened with the `info` that the page gives."""
    members = json.loads(line)
    info = joined(
        b"tiktrue-keys/1 envelope",
        *(members[name].encode() for name in ("from", "to", "kind", "key_id")),
        *(members[name].to_bytes(8, "big") for name in ("epoch", "number", "generation", "issued_at", "valid_until")),
    )
    with node.session.read() as (view, _), open_seed(node.session.keystore.keys, view.rows, "identity-hpke") as seed:
        plaintext = hpke.unseal(base64.b64decode(members["sealed"]), hpke.private_key(seed.view), info)
    assert plaintext[0] == (32 if members["kind"] == "key" else 0)
    return members, json.loads(plaintext[1 + plaintext[0] :])


def _in_braces(text: str) -> set[str]:
    """The names between the first pair of braces."""
    return set(re.findall(r'"([a-z_]+)"', text.partition("{")[2].partition("}")[0]))


def test_payloads_of_records(tmp_path: Path) -> None:
    """Keystores that have seen every act: each record's members are those of the page, and no kind is missing there."""
    seen: dict[str, set[str]] = {}
    with _used_keystore(tmp_path) as manager:
        _add_members(seen, manager)
    with fleet_in_memory("n1") as fleet:
        _use(fleet)
        for manager in (fleet.admin, fleet.nodes["n1"]):
            _add_members(seen, manager)
    assert set(seen) == {kind.name for kind in schema.RecordKind} - _WITHOUT_RECORDS
    for kind_name, members in seen.items():
        assert members | _SOMETIMES.get(kind_name, set()) == _page_members(kind_name), kind_name


def _add_members(seen: dict[str, set[str]], manager: KeyManager) -> None:
    with manager.session.read() as (view, _):
        for kind in schema.RecordKind:
            for payload in view.rows.scan(kind):
                seen.setdefault(kind.name, set()).update(payload)


def _used_keystore(folder: Path) -> KeyManager:
    now = [1_800_000_000]
    manager = KeyManager(
        folder / "ks", host_secret_file=folder / "state" / "host", clock=lambda: now[0], pbkdf2_rounds=100_000
    )
    key = manager.generate("model", license_key="license", labels={"a": "b"}, operation_id="made").keys[0]
    other = manager.generate("other", no_license=True).keys[0]
    act = FileAct("encrypt", bytes(16), "/x", frozenset(), frozenset({other.key_id}), model_id="other", name="x")
    manager.begin_file_act(act)
    manager.rotate(["model"], license_key="license", notify=["client"])
    manager.revoke([key.key_id], reason="reason")
    manager.cleanup([key.key_id])
    now[0] += 31 * DAY
    manager.generate("late", no_license=True)
    manager.backup(folder / "backup.db")
    manager.restore(folder / "backup.db")
    return manager


def _use(fleet: Fleet) -> None:
    """Everything that a fleet's keystores store: delivered, promoted, revoked, refused, out of order, let go, restored."""
    (fleet.folder / "spool").write_bytes(b"")
    assert fleet.sync().outage
    (fleet.folder / "spool").unlink()
    fleet.deliver()
    fleet.admin.rotate(["llama"], license_key=LICENSE, notify=["n1"], prepublish=Seconds(DAY))
    fleet.deliver()
    fleet.admin.revoke([fleet.key.key_id], reason="reason")
    fleet.admin.backup(fleet.folder / "backup.db")
    fleet.admin.restore(fleet.folder / "backup.db")
    fleet.admin.generate("new", no_license=True)
    distribute(fleet.admin, ["new"], every_node=True)
    fleet.sync()
    assert fleet.receive("n1").blocked
    accept_epoch(fleet.nodes["n1"], "head-office", expect=fleet_status(fleet.admin).base.root.hex())
    fleet.join("n2")
    remove(fleet.admin, "n2")


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
    fields, slot = _fields("slot fields"), container[: slots.SLOT_SIZE]
    assert list(fields) == [0, 4, 6, 8, 16, 20, 32, slots._MAC_AT]
    for at, expected in ((0, slots.MAGIC), (4, b"\0\1"), (6, b"\0\0"), (8, (1).to_bytes(8, "big")), (20, bytes(12))):
        assert (fields[at][0], slot[at : at + fields[at][0]]) == (len(expected), expected)
    length = int.from_bytes(slot[16 : 16 + fields[16][0]], "big")
    assert slot[64 : 64 + length] == slots.decode_slots(container[: slots.HEADER_SIZE]).current.header.encode()
    assert slots._MAC_AT + fields[slots._MAC_AT][0] == slots.SLOT_SIZE


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


# Numbers.


def _limits() -> dict[str, int]:
    found = {}
    for line in table("limits"):
        parts = re.fullmatch(r"(.*\S) {2,}(\d+)(?: bytes| characters)?", line)
        assert parts, line
        found[parts[1]] = int(parts[2])
    return found


def test_limits() -> None:
    facts = MachineFacts("linux", tuple(Fact(FactKind.NIC, f"{number}", "") for number in range(100)))
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
        "values of one kind of fact": len(list(candidates([FactKind.NIC], facts))),
        "license": licenses.MAX_LENGTH,
        "checkpoint note": checkpoint.NOTE_LIMIT,
        "slot of a container": slots.SLOT_SIZE,
        "JSON of a container's header": slots.MAX_JSON,
        "wraps of a container": header.MAX_WRAPS,
        "name of a container": header.MAX_NAME_BYTES,
        "wrapped key, HPKE": header.WRAP_LENGTHS[header.WrapType.HPKE],
        "generation": header.MAX_GENERATION,
        "segment": streaming_aead.SEGMENT_SIZE,
        "segments of a container": streaming_aead.MAX_SEGMENTS,
        "labels of a key": generate.MAX_LABELS,
        "manifest of a folder": manifest.MAX_MANIFEST,
        "files of a folder": manifest.MAX_FILES,
        "path in a manifest": manifest._MAX_PATH,
        "recipient file": recipients.MAX_RECIPIENT,
        "model block": blocks.MAX_BLOCK,
        "block id": blocks.MAX_BLOCK_ID,
        "card": cards.MAX_CARD,
        "envelope": envelopes.MAX_ENVELOPE,
        "contents of an envelope": envelopes.MAX_BODY,
        "hashes of a proof": envelopes.MAX_PROOF,
        "acknowledgement": acknowledgements.MAX_ACKNOWLEDGEMENT,
        "results of an acknowledgement": acknowledgements.MAX_RESULTS,
        "keys of a revocation list": lists.KEYS_A_LIST,
    }


def test_tables_of_the_keystore() -> None:
    page = PAGE.read_text()
    statements = re.findall(r"^CREATE [^;]*;", page, re.MULTILINE)
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        schema.create_tables(connection)
        found = connection.execute("SELECT sql || ';' FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
    assert sorted(statements) == sorted(sql for (sql,) in found)
    assert f"{schema.APPLICATION_ID:#x}" in page


# The pages as pages.


def test_what_is_not_built_is_not_there() -> None:
    """tiktrue-keys-security.7 lists it; whoever builds it takes it off the list and describes it."""
    page = (REPOSITORY / "man" / "tiktrue-keys-security.7").read_text()
    body = page.partition('.\\" list: not built\n')[2].partition("\n.El")[0]
    named = {name for line in re.findall(r"^\.It (.*)", body, re.MULTILINE) for name in line.split(" , ")}
    assert len(named) >= 1
    assert not named & set(CATALOG)


@pytest.mark.parametrize("page", ["tiktrue-keys-format.5", "tiktrue-keys-security.7"])
@pytest.mark.parametrize("command", [["mandoc", "-Tlint", "-Wwarning"], ["man", "--warnings", "-l"]], ids=" ".join)
def test_renders_without_a_warning(command: list[str], page: str) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run([*command, REPOSITORY / "man" / page], capture_output=True, text=True, check=False)
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if page in line and ": " in line]
    assert done.returncode == 0
    assert not [line for line in complaints if re.search("warning|error", line, re.IGNORECASE)]
