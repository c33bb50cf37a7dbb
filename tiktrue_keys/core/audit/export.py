"""Writes audit records in the forms that other programs read: JSON lines, CSV, CEF, OCSF, and the transparency log.

Come here to add a form. A writer takes records (or leaves) one at a time and yields whole lines with their line ends;
the caller writes them as UTF-8 without translating newlines. Only the form `tlog` can be verified, because it carries
the log's own bytes; the others are for reading.

The form `tlog`, all UTF-8 and LF: the checkpoint note; one empty line; for each leaf from number 0 on, a line with the
standard base64 of its bytes. The checkpoint's second line is the number of leaves, its third line their RFC 6962 root.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from tiktrue_keys.core.audit.record import AuditRecord
from tiktrue_keys.core.canonical import canonical_json, encode_checked
from tiktrue_keys.core.csv_line import csv_line
from tiktrue_keys.core.instants import rfc3339

VENDOR = "TikTrue"
PRODUCT = "tiktrue-keys"

_CSV_COLUMNS = (
    "epoch",
    "number",
    "time",
    "user",
    "host",
    "command",
    "event",
    "outcome",
    "operation_id",
    "key_id",
    "model_id",
    "before",
    "after",
    "detail",
    "uid",
    "login_uid",
    "claimed_sudo_user",
)

_NO_ACTOR = dict.fromkeys(("uid", "login_uid", "claimed_sudo_user"))
"""What records of version 1 do not say."""

_CEF_SEVERITY = {"ok": 3, "refused": 6, "failed": 7}
_CEF_LABELLED = {
    "cn1": "number",
    "cn2": "epoch",
    "cn3": "login_uid",
    "cs1": "key_id",
    "cs2": "model_id",
    "cs3": "before",
    "cs4": "after",
    "cs5": "command",
    "cs6": "detail",
    "flexString1": "claimed_sudo_user",
}

_OCSF_VERSION = "1.3.0"
_OCSF_CATEGORY, _OCSF_CLASS = 3, 3004
_OCSF_OTHER = 99
_OCSF_ACTIVITIES = {
    "keystore-create": (1, "Create"),
    "generate": (1, "Create"),
    "encrypt": (1, "Create"),
    "encrypt-folder": (1, "Create"),
    "encrypt-folder-resumable": (1, "Create"),
    "decrypt": (2, "Read"),
    "decrypt-block": (2, "Read"),
    "open": (2, "Read"),
    "open-model": (2, "Read"),
    "exec": (2, "Read"),
    "export-public": (2, "Read"),
    "distribute": (2, "Read"),
    "rotate": (3, "Update"),
    "relicense": (3, "Update"),
    "rewrap": (3, "Update"),
    "sign": (3, "Update"),
    "reencrypt": (3, "Update"),
    "rebind": (3, "Update"),
    "rekey": (3, "Update"),
    "cleanup-destroy": (4, "Delete"),
    "revoke": (9, "Disable"),
}
_OCSF_STATUS = {"ok": (1, "Success"), "refused": (2, "Failure"), "failed": (2, "Failure")}
_OCSF_SEVERITY = {"ok": (1, "Informational"), "refused": (3, "Medium"), "failed": (3, "Medium")}


def jsonl(records: Iterable[AuditRecord]) -> Iterator[str]:
    """Yield one canonical JSON object a line: the record's members, with `time` in RFC 3339."""
    for record in records:
        yield encode_checked(record.members() | {"time": rfc3339(record.time)}).decode() + "\n"


def csv_table(records: Iterable[AuditRecord]) -> Iterator[str]:
    """Yield RFC 4180 with a header line. `detail` is canonical JSON; an absent member is an empty cell.

    A cell that a spreadsheet would take for a formula gets a leading apostrophe.
    """
    yield csv_line(_CSV_COLUMNS)
    for record in records:
        flat = _flat(record)
        yield csv_line(flat[column] for column in _CSV_COLUMNS)


def cef(records: Iterable[AuditRecord], *, version: str) -> Iterator[str]:
    """Yield ArcSight CEF:0, one event a line, without a syslog header. `version` is this program's.

    Signature id and name are the event; severity is 3, 6, 7 for ok, refused, failed. Members use the keys of CEF's
    dictionary where it has one (rt, suser, suid, shost, act, outcome, externalId, reason) and the labelled keys cs1 to
    cs6, cn1 to cn3 and flexString1 otherwise.
    """
    for record in records:
        flat = _flat(record)
        header = ["CEF:0", VENDOR, PRODUCT, version, record.event, record.event, str(_CEF_SEVERITY[record.outcome])]
        extension = {
            "rt": str(record.time * 1000),
            "suser": flat["user"],
            "suid": flat["uid"],
            "shost": flat["host"],
            "act": record.event,
            "outcome": record.outcome,
            "externalId": record.operation_id,
            "reason": _reason(record),
        }
        for name, column in _CEF_LABELLED.items():
            extension |= {name: flat[column], f"{name}Label": column if flat[column] else ""}
        fields = " ".join(f"{name}={_cef_value(value)}" for name, value in extension.items() if value)
        yield "|".join([*map(_cef_header, header), fields]) + "\n"


def ocsf(records: Iterable[AuditRecord], *, version: str) -> Iterator[str]:
    """Yield OCSF 1.3.0, one JSON object a line, of the class Entity Management (3004): a key is a managed entity.

    activity_id: 1 generate, 2 decrypt, open, exec, export, 3 rotate, relicense, 4 destroy, 9 revoke (Disable), else 99
    with the event as activity_name. status_id: 1 ok, 2 refused or failed (`status_code` says which). `time` is in
    milliseconds. Members for which the class has no attribute are in `unmapped`.
    """
    for record in records:
        yield canonical_json(_ocsf_event(record, version)).decode() + "\n"


def _ocsf_event(record: AuditRecord, version: str) -> dict[str, Any]:
    members = record.members()
    activity, activity_name = _OCSF_ACTIVITIES.get(record.event, (_OCSF_OTHER, record.event))
    status, status_name = _OCSF_STATUS[record.outcome]
    severity, severity_name = _OCSF_SEVERITY[record.outcome]
    subject = record.key_id or record.model_id or "keystore"
    kind = "key" if record.key_id else "model" if record.model_id else "keystore"
    event = {
        "activity_id": activity,
        "activity_name": activity_name,
        "actor": {
            "process": {"cmd_line": members["actor"]["command"]},
            "user": _ocsf_user(members["actor"]),
        },
        "category_name": "Identity & Access Management",
        "category_uid": _OCSF_CATEGORY,
        "class_name": "Entity Management",
        "class_uid": _OCSF_CLASS,
        "entity": {"name": subject, "type": kind, "uid": subject},
        "metadata": {
            "correlation_uid": record.operation_id,
            "product": {"name": PRODUCT, "vendor_name": VENDOR, "version": version},
            "sequence": record.number,
            "version": _OCSF_VERSION,
        },
        "severity": severity_name,
        "severity_id": severity,
        "src_endpoint": {"hostname": members["actor"]["host"]},
        "status": status_name,
        "status_code": record.outcome,
        "status_id": status,
        "time": record.time * 1000,
        "type_uid": _OCSF_CLASS * 100 + activity,
        "unmapped": {name: members[name] for name in ("after", "before", "detail", "epoch", "model_id")}
        | {name: members["actor"].get(name) for name in ("claimed_sudo_user", "login_uid")},
    }
    reason = _reason(record)
    return event | {"comment": reason} if reason else event


def _ocsf_user(actor: Mapping[str, Any]) -> dict[str, str]:
    user = {"name": actor["user"]}
    return user if actor.get("uid") is None else user | {"uid": str(actor["uid"])}


RecordWriter = Callable[[Iterable[AuditRecord], str], Iterator[str]]
RECORD_WRITERS: Mapping[str, RecordWriter] = MappingProxyType(
    {
        "jsonl": lambda records, _: jsonl(records),
        "csv": lambda records, _: csv_table(records),
        "cef": lambda records, version: cef(records, version=version),
        "ocsf": lambda records, version: ocsf(records, version=version),
    }
)
"""Every form of `audit export` that takes records, by its name: (records, this program's version) -> lines."""


def tlog(note: str, leaves: Iterable[bytes]) -> Iterator[str]:
    """Yield the log itself: its checkpoint note and every leaf (the sealed records as they are stored)."""
    yield note
    yield "\n"
    for leaf in leaves:
        yield b64encode(leaf).decode() + "\n"


def _flat(record: AuditRecord) -> dict[str, str]:
    members = record.members()
    detail = canonical_json(members["detail"]).decode()
    members = _NO_ACTOR | members | members["actor"] | {"time": rfc3339(record.time), "detail": detail}
    return {column: "" if members[column] is None else str(members[column]) for column in _CSV_COLUMNS}


def _reason(record: AuditRecord) -> str:
    reason = record.members()["detail"].get("reason")
    return reason if isinstance(reason, str) else ""


def _cef_header(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\r", " ").replace("\n", " ")


def _cef_value(text: str) -> str:
    return text.replace("\\", "\\\\").replace("=", "\\=").replace("\r", "\\r").replace("\n", "\\n")
