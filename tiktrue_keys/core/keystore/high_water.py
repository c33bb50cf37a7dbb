"""The high-water mark: the highest audit position of a keystore that this machine has seen, as one file.

Come here for what a mark holds and how it is authenticated; marks.py says in which folders it lies. A keystore behind
its mark is an older copy: verification.py refuses it. An attacker who puts back every older mark too is not detected
here, but by the nodes that witness the audit head. The mark also carries the heartbeat, the time of the last scheduled
run, which needs no audit record; and a digest of the approval policy, so that an older backup in another folder brings
no older policy back.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from dataclasses import dataclass, field
from pathlib import Path

from tiktrue_keys.core import derivation
from tiktrue_keys.core.audit.merkle import EMPTY_ROOT
from tiktrue_keys.core.canonical import canonical_json, parse_canonical
from tiktrue_keys.core.durable import read_capped, replace_bytes
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.errors import IntegrityError, NotFoundError

UNKNOWN = "unknown"
"""The policy of the mark that a rekey leaves: there was one, and under the new root it may have changed since."""

POLICY = "policy"
"""The name of the record of the approval policy."""

_LIMIT = 1024
_WHAT = "the high-water mark"


@dataclass(frozen=True, order=True)
class Mark:
    """Epoch, number of audit records, and the 32-byte head of the tree over them. Ordered by epoch, then size.

    `heartbeat` is the time of the last scheduled run; None in the mark of a keystore without one. `policy` is the
    digest of the approval policy in hex; empty where there is none.
    """

    epoch: int
    size: int
    head: bytes
    heartbeat: Instant | None = field(default=None, compare=False)
    policy: str = field(default="", compare=False)


def first_mark(epoch: int) -> Mark:
    """Return the lowest mark of an epoch, which every keystore of the epoch reaches."""
    return Mark(epoch, 0, EMPTY_ROOT)


def mark_path(folder: Path, keystore_id: bytes) -> Path:
    """Return the path of a keystore's mark in `folder`."""
    return folder / f"{keystore_id.hex()}.mark"


def pending_path(path: Path) -> Path:
    """Return where the mark of a rekey lies until the keystore has changed over to its new root secret."""
    return path.with_name(path.name + ".new")


def renewed_path(folder: Path, root: memoryview, keystore_id: bytes) -> Path:
    """Return the path of the mark that a rekey leaves under the root that it ended: copies from before read it."""
    with derivation.subkey(root, derivation.HIGH_WATER) as key:
        name = hmac.digest(key.view, b"renewed", hashlib.sha256)[:8]
    return folder / f"{keystore_id.hex()}-{name.hex()}.renewed"


def write_mark(path: Path, mark: Mark, *, root: memoryview, keystore_id: bytes) -> None:
    """Replace the mark durably, and remove the one of a rekey that it takes the place of."""
    body = _body(mark, keystore_id)
    replace_bytes(path, canonical_json({**body, "mac": _mac(root, body).hex()}), gate=None)
    pending_path(path).unlink(missing_ok=True)


def read_mark(path: Path, *, root: memoryview, keystore_id: bytes) -> Mark:
    """Return the mark at `path`, or after a rekey that was killed the one that it wrote beside it.

    Raises NotFoundError when it is missing, IntegrityError when it was modified or is another keystore's.
    """
    try:
        return _read(path, root=root, keystore_id=keystore_id)
    except (NotFoundError, IntegrityError):
        pending = pending_path(path)
        if not pending.exists():
            raise
        with contextlib.suppress(IntegrityError):
            return _read(pending, root=root, keystore_id=keystore_id)
        raise


def _read(path: Path, *, root: memoryview, keystore_id: bytes) -> Mark:
    value = parse_canonical(read_capped(path, _LIMIT, _WHAT), limit=_LIMIT, what=_WHAT)
    mac = value.pop("mac", "")
    if not isinstance(mac, str) or not hmac.compare_digest(mac.encode(), _mac(root, value).hex().encode()):
        raise IntegrityError(f"{_WHAT} {path} was changed")
    if value.get("keystore") != keystore_id.hex():
        raise IntegrityError(f"{_WHAT} {path} is another keystore's")
    return Mark(
        value["epoch"], value["size"], bytes.fromhex(value["head"]), value.get("heartbeat"), value.get("policy", "")
    )


def _body(mark: Mark, keystore_id: bytes) -> dict[str, object]:
    body: dict[str, object] = {
        "keystore": keystore_id.hex(),
        "epoch": mark.epoch,
        "size": mark.size,
        "head": mark.head.hex(),
    }
    if mark.policy:
        body["policy"] = mark.policy
    return body if mark.heartbeat is None else body | {"heartbeat": mark.heartbeat}


def policy_digest(rows: Rows) -> str:
    """Return the digest of the approval policy as a mark has it; empty without a policy."""
    payload = rows.get(RecordKind.APPROVAL, POLICY)
    return "" if payload is None else hashlib.sha256(canonical_json(payload)).hexdigest()


def _mac(root: memoryview, body: dict[str, object]) -> bytes:
    with derivation.subkey(root, derivation.HIGH_WATER) as key:
        return hmac.digest(key.view, canonical_json(body), hashlib.sha256)
