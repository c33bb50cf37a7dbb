from __future__ import annotations

import csv
import io
import json
import re
from base64 import b64decode
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.core.audit.records import ACTOR, KEY_ID, NOON, record
from tests.core.audit.trees import StoredTree, literal_root
from tiktrue_keys.core.audit import export
from tiktrue_keys.core.audit.checkpoint import Checkpoint, open_note, signed_note
from tiktrue_keys.core.audit.record import Actor

REVOKED = record(
    number=42,
    event="revoke",
    before="active",
    after="revoked",
    operation_id="op-2",
    detail={"reason": "laptop = lost | backslash \\ here"},
)
BARE = record(event="doctor", outcome="failed", key_id=None, model_id=None, before=None, after=None, detail={})


def test_jsonl_is_the_record_with_a_readable_time() -> None:
    lines = list(export.jsonl([record(), BARE]))
    assert lines[0] == (
        '{"actor":{"claimed_sudo_user":"ada","command":"tiktrue-keys rotate llama-7b","host":"node-7",'
        '"login_uid":1000,"uid":0,"user":"root"},"after":"rotating",'
        '"before":"active","detail":{"successor":"llama-7b_fedcba9876543210"},"epoch":1,"event":"rotate",'
        '"key_id":"llama-7b_0123456789abcdef","model_id":"llama-7b","number":41,"operation_id":"op-1","outcome":"ok",'
        '"time":"2026-11-25T12:00:00Z","v":2}\n'
    )
    assert json.loads(lines[1])["key_id"] is None


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def test_csv_has_a_header_and_every_member() -> None:
    text = "".join(export.csv_table([record(), BARE]))
    assert text.endswith("\r\n")
    assert "\n" not in text.replace("\r\n", "")
    header, first, second = rows(text)
    assert dict(zip(header, first, strict=True)) == {
        "epoch": "1",
        "number": "41",
        "time": "2026-11-25T12:00:00Z",
        "user": "root",
        "host": "node-7",
        "command": "tiktrue-keys rotate llama-7b",
        "event": "rotate",
        "outcome": "ok",
        "operation_id": "op-1",
        "key_id": KEY_ID,
        "model_id": "llama-7b",
        "before": "active",
        "after": "rotating",
        "detail": '{"successor":"llama-7b_fedcba9876543210"}',
        "uid": "0",
        "login_uid": "1000",
        "claimed_sudo_user": "ada",
    }
    assert second[9:14] == ["", "", "", "", "{}"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "＝", "＋", "－", "＠"])
def test_csv_has_no_formula(start: str) -> None:
    user = f'{start}HYPERLINK("http://x","a,b")'
    header, row = rows("".join(export.csv_table([record(actor=Actor(user, "h", "c"))])))
    assert row[header.index("user")] == f"'{user}"


def test_csv_leaves_other_cells_alone() -> None:
    header, row = rows("".join(export.csv_table([record(actor=Actor("a=b", 'qu"ote', "x, y"))])))
    assert row[header.index("user")] == "a=b"
    assert row[header.index("host")] == 'qu"ote'
    assert row[header.index("command")] == "x, y"


def parsed_cef(line: str) -> tuple[list[str], dict[str, str]]:
    """CEF read by its rules: header fields end at a bare pipe, keys stand before a bare equals sign."""
    *header, extension = re.split(r"(?<!\\)\|", line.removesuffix("\n"), maxsplit=7)
    places = list(re.finditer(r"(?:^| )([A-Za-z0-9]+)(?<!\\)=", extension))
    fields = {}
    for place, after in zip(places, [*places[1:], None], strict=True):
        value = extension[place.end() : after.start() if after else None]
        fields[place[1]] = re.sub(r"\\(.)", r"\1", value)
    return header, fields


def test_cef() -> None:
    (line,) = export.cef([REVOKED], version="1.2|3\\")
    assert line.startswith(r"CEF:0|TikTrue|tiktrue-keys|1.2\|3\\|revoke|revoke|3|rt=1795608000000 suser=root suid=0 ")
    assert line.endswith("\n")
    header, fields = parsed_cef(line.replace("3\\\\|revoke", "3|revoke"))
    assert header == ["CEF:0", "TikTrue", "tiktrue-keys", r"1.2\|3", "revoke", "revoke", "3"]
    assert fields == {
        "rt": "1795608000000",
        "suser": "root",
        "suid": "0",
        "shost": "node-7",
        "act": "revoke",
        "outcome": "ok",
        "externalId": "op-2",
        "reason": "laptop = lost | backslash \\ here",
        "cn1": "42",
        "cn1Label": "number",
        "cn2": "1",
        "cn2Label": "epoch",
        "cn3": "1000",
        "cn3Label": "login_uid",
        "flexString1": "ada",
        "flexString1Label": "claimed_sudo_user",
        "cs1": KEY_ID,
        "cs1Label": "key_id",
        "cs2": "llama-7b",
        "cs2Label": "model_id",
        "cs3": "active",
        "cs3Label": "before",
        "cs4": "revoked",
        "cs4Label": "after",
        "cs5": ACTOR.command,
        "cs5Label": "command",
        "cs6": r'{"reason":"laptop = lost | backslash \\ here"}',
        "cs6Label": "detail",
    }


def test_cef_escapes_what_it_must_and_nothing_else() -> None:
    (line,) = export.cef([REVOKED], version="1")
    assert r"reason=laptop \= lost | backslash \\ here " in line


def test_cef_leaves_out_what_is_absent_and_tells_failures() -> None:
    (line,) = export.cef([BARE], version="1")
    header, fields = parsed_cef(line)
    assert header[6] == "7"
    assert not {"cs1", "cs1Label", "cs2", "cs3", "cs4", "reason"} & set(fields)
    (line,) = export.cef([record(outcome="refused")], version="1")
    assert parsed_cef(line)[0][6] == "6"


def test_ocsf() -> None:
    (line,) = export.ocsf([REVOKED], version="0.1.0")
    assert line.endswith("}\n")
    assert json.loads(line) == {
        "activity_id": 9,
        "activity_name": "Disable",
        "actor": {"process": {"cmd_line": ACTOR.command}, "user": {"name": "root", "uid": "0"}},
        "category_name": "Identity & Access Management",
        "category_uid": 3,
        "class_name": "Entity Management",
        "class_uid": 3004,
        "comment": "laptop = lost | backslash \\ here",
        "entity": {"name": KEY_ID, "type": "key", "uid": KEY_ID},
        "metadata": {
            "correlation_uid": "op-2",
            "product": {"name": "tiktrue-keys", "vendor_name": "TikTrue", "version": "0.1.0"},
            "sequence": 42,
            "version": "1.3.0",
        },
        "severity": "Informational",
        "severity_id": 1,
        "src_endpoint": {"hostname": "node-7"},
        "status": "Success",
        "status_code": "ok",
        "status_id": 1,
        "time": NOON * 1000,
        "type_uid": 300409,
        "unmapped": {
            "after": "revoked",
            "before": "active",
            "claimed_sudo_user": "ada",
            "detail": {"reason": "laptop = lost | backslash \\ here"},
            "epoch": 1,
            "login_uid": 1000,
            "model_id": "llama-7b",
        },
    }


@pytest.mark.parametrize("name", sorted(export.RECORD_WRITERS))
def test_every_form_takes_records_of_version_1(name: str) -> None:
    (line,) = list(export.RECORD_WRITERS[name]([record(v=1)], "0.1.0"))[-1:]

    assert "root" in line
    assert "1000" not in line
    assert "login_uid=" not in line


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"event": "generate"}, {"activity_id": 1, "activity_name": "Create", "type_uid": 300401}),
        ({"event": "decrypt"}, {"activity_id": 2, "activity_name": "Read", "type_uid": 300402}),
        ({"event": "cleanup-destroy"}, {"activity_id": 4, "activity_name": "Delete", "type_uid": 300404}),
        ({"event": "audit-gap"}, {"activity_id": 99, "activity_name": "audit-gap", "type_uid": 300499}),
        ({"outcome": "refused"}, {"status_id": 2, "status_code": "refused", "severity_id": 3}),
        ({"outcome": "failed"}, {"status_id": 2, "status_code": "failed", "severity_id": 3}),
        ({"key_id": None}, {"entity": {"name": "llama-7b", "type": "model", "uid": "llama-7b"}}),
        (
            {"key_id": None, "model_id": None},
            {"entity": {"name": "keystore", "type": "keystore", "uid": "keystore"}},
        ),
    ],
    ids=str,
)
def test_ocsf_says_what_was_done_to_what_and_how_it_ended(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    (line,) = export.ocsf([record(**changes)], version="0.1.0")
    event = json.loads(line)
    assert {name: event[name] for name in expected} == expected
    assert "comment" not in event


@pytest.mark.parametrize("name", sorted(export.RECORD_WRITERS))
def test_every_form_keeps_a_strange_name_on_its_line(name: str) -> None:
    strange = record(actor=Actor("a\nb\r\x1b[2J", "no\u2028de\ud800", "c\0"), detail={"reason": "x\ny"})
    text = "".join(export.RECORD_WRITERS[name]([strange, strange], "0.1.0"))
    lines = text.encode().decode().splitlines()
    assert len(lines) == 2 + (name == "csv")
    assert "\x1b" not in text


KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))  # a test key, no secret
PUBLIC = KEY.public_key().public_bytes_raw()
ORIGIN = "tiktrue-keys/00/1"
LEAVES = [b"sealed record %d" % number for number in range(11)]
WITNESS = (
    "— witness.example/w1 "
    "NARiQF8dXv5gjWZt5aCZUs5SWLwsjONng2yfD46aN9PT3oDrYPWrrqh0wVE/FQB4MLygH1/qC7sod7M2T9dISTxcLww=\n"
)


def note_over(leaves: list[bytes]) -> str:
    checkpoint = Checkpoint(ORIGIN, len(leaves), StoredTree(leaves).root())
    return signed_note(checkpoint, public_key=PUBLIC, sign=KEY.sign)


@pytest.mark.parametrize("count", [0, 1, 2, 11])
@pytest.mark.parametrize("witness", ["", WITNESS])
def test_an_exported_log_verifies_from_its_text_alone(count: int, witness: str) -> None:
    text = "".join(export.tlog(note_over(LEAVES[:count]) + witness, iter(LEAVES[:count])))
    body, signatures, lines = text.split("\n\n")
    leaves = [b64decode(line) for line in lines.splitlines()]
    assert leaves == LEAVES[:count]
    checkpoint = open_note(f"{body}\n\n{signatures}\n", origin=ORIGIN, public_key=PUBLIC)
    assert (len(leaves), literal_root(leaves)) == (checkpoint.size, checkpoint.root)


def test_the_exported_log_is_these_bytes() -> None:
    note = note_over([b"a", b"b"])
    assert "".join(export.tlog(note, [b"a", b"b"])) == f"{note}\nYQ==\nYg==\n"
