"""man/tiktrue-keys-format.5 against keystores and a fleet that have seen every operation: the members as written."""

from __future__ import annotations

import base64
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.audit_catalogue import unlisted
from tests.core.approvals.approvers import ADA
from tests.fleet.fleet import Fleet, fleet_in_memory
from tests.format_page import in_braces, rows
from tests.keystores import LICENSE
from tiktrue_keys.core.approvals.policy import parse_approver
from tiktrue_keys.core.canonical import joined
from tiktrue_keys.core.containers.claims import Claim
from tiktrue_keys.core.containers.intents import FileIntent
from tiktrue_keys.core.dispatch.releases import Release, ReleaseEntry
from tiktrue_keys.core.instants import DAY, Seconds
from tiktrue_keys.core.keys import key_record
from tiktrue_keys.core.keystore import schema
from tiktrue_keys.core.keystore.identity import open_seed
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.operations.approvals import set_policy
from tiktrue_keys.core.operations.release import ReleaseRequest
from tiktrue_keys.errors import NeedsApprovalError
from tiktrue_keys.fleet import hpke
from tiktrue_keys.fleet.epochs import accept_epoch
from tiktrue_keys.fleet.own_identity import own_card
from tiktrue_keys.fleet.release_members import release_json
from tiktrue_keys.fleet.status import fleet_status
from tiktrue_keys.fleet.sync import distribute
from tiktrue_keys.fleet.unpin import unpin
from tiktrue_keys.recovery.escrow import create_escrow

_WITHOUT_RECORDS = {"UNLOCK", "EVENT", "SINK", "COUNTER"}
_SOMETIMES = {
    "KEY": set(key_record._STORED) | {"wrapped"},
    "ROTATION": {"promote_at", "min_acks"},
    "CONTAINER": {"copies", "signer", "archived_at"},
    "NODE": {"scope_assumed"},  # after an upgrade with several issuers
    "BINDING": {"dropped", "replacing", "device"},  # of a planned repair, or with a TPM
    "WITNESS": {"at"},  # of schema version 1
    "BACKUP": {"size", "epoch"},  # of a backup that was finished
}


def _page_members(kind: str) -> set[str]:
    text = re.sub(r"\([^()]*\)", "", rows("payloads")[kind])
    return {part.strip() for part in re.split("[,;:]", text) if re.fullmatch("[a-z_]+", part.strip())}


def test_payloads_of_records(tmp_path: Path) -> None:
    """Keystores that have seen every operation: each record's members are those of the page, and no kind is missing."""
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
    assert unlisted(manager) == []
    with manager.session.read() as (view, _):
        for kind in schema.RecordKind:
            for payload in view.rows.scan(kind):
                seen.setdefault(kind.name, set()).update(payload)


def _used_keystore(folder: Path) -> KeyManager:
    now = [1_800_000_000]
    manager = KeyManager(
        folder / "ks",
        host_secret_file=folder / "state" / "host",
        clock=lambda: now[0],
        pbkdf2_rounds=100_000,
        synchronised=lambda: False,
    )
    key = manager.generate("model", license_key="license", labels={"a": "b"}, operation_id="made").keys[0]
    other = manager.generate("other", no_license=True).keys[0]
    intent = FileIntent("encrypt", bytes(16), "/x", frozenset(), frozenset({other.key_id}), model_id="other", name="x")
    manager.begin_file_operation(intent)
    manager.rotate(["model"], license_key="license", notify=["client"])
    entry = ReleaseEntry(bytes(16), bytes(32))
    manager.release(ReleaseRequest({"model": [entry]}), OperationRequest.of("release", None, {}))
    manager.revoke([key.key_id], reason="reason")
    manager.cleanup([key.key_id])
    manager.claim([Claim("/y", bytes(16), frozenset({other.key_id}), manager.now())], ())
    now[0] += 31 * DAY
    manager.generate("late", no_license=True)
    manager.rekey()
    manager.raise_findings()
    create_escrow(manager, lambda *_: lambda: None, shares=2, threshold=2)
    manager.backup(folder / "backup.db")
    manager.restore(folder / "backup.db")
    _leave_a_plan(manager)
    return manager


def _leave_a_plan(manager: KeyManager) -> None:
    approver = parse_approver("ada", ADA.line)
    set_policy(manager.session, require={"destroy": 1}, approvers=[approver], operation_id=None)
    with pytest.raises(NeedsApprovalError):
        set_policy(manager.session, require={"destroy": 0}, operation_id=None)


def _use(fleet: Fleet) -> None:
    """Everything that a fleet's keystores store: delivered, revoked, restored, accepted, let go, out of order."""
    fleet.deliver()
    fleet.admin.rotate(["llama"], license_key=LICENSE, notify=["n1"], prepublish=Seconds(DAY))
    fleet.deliver()
    fleet.admin.revoke([fleet.key.key_id], reason="reason")
    fleet.deliver()
    fleet.admin.backup(fleet.folder / "backup.db")
    fleet.admin.restore(fleet.folder / "backup.db")
    fleet.admin.generate("new", no_license=True)
    distribute(fleet.admin, ["new"], every_node=True)
    fleet.sync()
    assert fleet.receive("n1").blocked
    accept_epoch(fleet.nodes["n1"], "head-office", expect=fleet_status(fleet.admin).base.root.hex())
    fleet.join("n2")
    unpin(fleet.admin, "n2")
    shutil.rmtree(fleet.folder / "spool")
    (fleet.folder / "spool").touch()
    distribute(fleet.admin, ["new"], every_node=True)
    assert fleet.sync().outage
    unpin(fleet.nodes["n1"], "head-office", compromised=True)


def test_members_of_what_a_fleet_exchanges() -> None:
    """Card, envelopes of every kind with their contents, revocation list and acknowledgement, as they were written."""
    with fleet_in_memory("n1") as fleet:
        node, lines = fleet.nodes["n1"], _lines_of_every_kind(fleet)
        assert set(json.loads(own_card(node)[1])) == set(rows("card members"))
        opened = {kind: _opened(node, line) for kind, line in lines.items()}
        asked = json.loads(fleet.challenges("n1")[-1])
        said = fleet.acknowledgement("n1")
    assert set(opened) == set(rows("envelope payloads"))
    for kind, (members, contents) in opened.items():
        assert set(members) == set(rows("envelope members"))
        assert set(contents) == set(rows("envelope contents"))
        assert in_braces(rows("envelope contents")["audit"]) == set(contents["audit"])
        written = re.sub(r"\([^()]*\)", "", rows("envelope payloads")[kind]).split(":")[0].split(",")
        assert set(contents["payload"]) == (set() if kind == "void" else {name.strip() for name in written})
    revocations = json.loads(opened["revocation-list"][1]["payload"]["list"])
    assert set(revocations) == set(rows("list members"))
    assert in_braces(rows("list members")["revoked"]) == set(revocations["revoked"][0])
    assert (
        in_braces(rows("list members")["releases"]) == set(rows("release members")) == set(release_json(Release("m")))
    )
    acknowledgement = json.loads(said)
    assert set(acknowledgement) == set(rows("acknowledgement members"))
    assert in_braces(rows("acknowledgement members")["results"]) == set(acknowledgement["results"][0])
    assert in_braces(rows("acknowledgement members")["audit"]) == set(acknowledgement["audit"])
    assert set(asked) == set(rows("challenge members"))
    repeated = in_braces(rows("acknowledgement members")["challenge"])
    assert acknowledgement["challenge"] == {name: asked[name] for name in repeated}


def _lines_of_every_kind(fleet: Fleet) -> dict[str, bytes]:
    """An envelope of each kind; a key that is revoked before it was sent leaves a void in its place."""
    lines: list[bytes] = []
    fleet.admin.rotate(["llama"], license_key=LICENSE, notify=["n1"], prepublish=Seconds(0))
    for _ in range(2):
        fleet.sync()
        lines += fleet.lines("n1")
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
        *(members[name].to_bytes(8, "big") for name in ("epoch", "stream", "number")),
        *(members[name].to_bytes(8, "big") for name in ("generation", "issued_at", "valid_until")),
    )
    with node.session.read() as (view, _), open_seed(node.session.keystore.keys, view.rows, "identity-hpke") as seed:
        plaintext = hpke.unseal(base64.b64decode(members["sealed"]), hpke.private_key(seed.view), info)
    assert plaintext[0] == (32 if members["kind"] == "key" else 0)
    return members, json.loads(plaintext[1 + plaintext[0] :])
