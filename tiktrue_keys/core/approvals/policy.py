"""The approval policy: which operations need how many approvals, and whose keys may approve.

Come here for the rules of a policy and for how it is stored. A keystore has one policy or none; plans.py applies it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tiktrue_keys.core.approvals.ssh_keys import SshKey, parse_public_key
from tiktrue_keys.core.keystore import high_water
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.notices import plural
from tiktrue_keys.errors import RefusedError, UsageError

DESTROY = "destroy"
DECRYPT_OUT = "decrypt-out"
NODE_ADD = "node-add"
DISTRIBUTE_NEW = "distribute-new"
ESCROW = "escrow"
RECOVER_REVOKED = "recover-revoked"
REKEY = "rekey"
BINDING = "binding"
RESTORE_OVER = "restore-over"
FORGET = "forget"
ACCEPT_CLOCK = "accept-clock"
POLICY = "policy"

OPERATIONS = (
    DESTROY,
    DECRYPT_OUT,
    NODE_ADD,
    DISTRIBUTE_NEW,
    ESCROW,
    RECOVER_REVOKED,
    REKEY,
    BINDING,
    RESTORE_OVER,
    FORGET,
    ACCEPT_CLOCK,
    POLICY,
)
"""What a policy can require approvals for."""

HIGHEST = (POLICY, ESCROW)
"""What needs as many approvals as the strictest other operation unless the policy says: each can undo the policy."""

MAX_APPROVERS = 16
RECORD = high_water.POLICY
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")


@dataclass(frozen=True)
class Approver:
    """A person by the name that the policy gives them, and their public key."""

    name: str
    key: SshKey


@dataclass(frozen=True)
class Policy:
    """`require` maps operations to the number of approvals; those left out need none. Approvers by name."""

    require: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    approvers: tuple[Approver, ...] = ()

    def needed(self, operations: Iterable[str]) -> int:
        """Return how many approvals the operations need, the strictest of them; 0 for none."""
        return max((self._needed(operation) for operation in operations), default=0)

    def _needed(self, name: str) -> int:
        if name in HIGHEST and name not in self.require:
            return max(self.require.values(), default=0)
        return self.require.get(name, 0)

    def approver_of(self, blob: bytes) -> Approver | None:
        """Return the approver with that key, the first by name; None without one."""
        return next((each for each in self.approvers if each.key.blob == blob), None)

    def changed(self, require: Mapping[str, int], approvers: Iterable[Approver], removed: Iterable[str] = ()) -> Policy:
        """Return the policy after a change: 0 approvals remove an operation, an approver replaces one of that name.

        Raises UsageError for an unknown operation, approver or a number out of range, RefusedError when an operation
        would need more approvals than there are keys.
        """
        people = {each.name: each for each in self.approvers}
        for name in removed:
            if people.pop(name, None) is None:
                raise UsageError(f"there is no approver '{name[:64]}'", remedy="show-policy")
        people |= {each.name: each for each in approvers}
        numbers = {name: count for name, count in {**self.require, **require}.items() if count}
        policy = Policy(MappingProxyType(numbers), tuple(people[name] for name in sorted(people)))
        policy.check(require)
        return policy

    def check(self, given: Mapping[str, int]) -> None:
        """Raise unless the policy can be kept."""
        for operation, count in given.items():
            if operation not in OPERATIONS:
                raise UsageError(
                    f"'{operation[:40]}' is not an operation that can need approval",
                    f"choose one of {', '.join(OPERATIONS)}",
                )
            if not 0 <= count <= MAX_APPROVERS:
                raise UsageError(f"{operation} cannot need {count} approvals", f"from 0 to {MAX_APPROVERS}")
        if len(self.approvers) > MAX_APPROVERS:
            raise UsageError(f"there are more than {MAX_APPROVERS} approvers")
        keys = len({each.key.blob for each in self.approvers})
        for operation, count in self.require.items():
            if count > keys:
                raise RefusedError(
                    f"{operation} would need {plural(count, 'approval')}, and the approvers have {plural(keys, 'key')}",
                    "name more approvers, or require fewer approvals",
                    remedy="too-few-approvers",
                )

    def described(self) -> dict[str, Any]:
        """Return the policy as plans and audit records show it: numbers, and fingerprints by name."""
        return {
            "require": [f"{operation}={count}" for operation, count in sorted(self.require.items())],
            "approvers": [f"{each.name} {each.key.type} {each.key.fingerprint}" for each in self.approvers],
        }


NO_POLICY = Policy()


def parse_approver(name: str, public_key: bytes) -> Approver:
    """Return an approver. Raises UsageError for a malformed name or a file that is not a plain public key."""
    if not _NAME.fullmatch(name):
        words = "1 to 63 of A-Z a-z 0-9 . _ @ -, starting with a letter or digit"
        raise UsageError(f"{name[:64]!a} is not an approver's name", words)
    return Approver(name, parse_public_key(public_key))


def get_policy(rows: Rows) -> Policy:
    """Return the policy; NO_POLICY where none was set."""
    payload = rows.get(RecordKind.APPROVAL, RECORD)
    return NO_POLICY if payload is None else policy_of(payload)


def put_policy(rows: Rows, policy: Policy) -> None:
    """Store the policy; one without any requirement and approver is removed."""
    if not policy.require and not policy.approvers:
        rows.delete(RecordKind.APPROVAL, RECORD)
    else:
        rows.put(RecordKind.APPROVAL, RECORD, policy_json(policy))


def policy_json(policy: Policy) -> dict[str, Any]:
    """Return the stored members of a policy."""
    approvers = [{"name": each.name, "key": each.key.text} for each in policy.approvers]
    return {"require": dict(policy.require), "approvers": approvers}


def policy_of(payload: Mapping[str, Any]) -> Policy:
    """Return the policy of its stored members."""
    approvers = (Approver(each["name"], parse_public_key(each["key"].encode())) for each in payload["approvers"])
    return Policy(MappingProxyType(dict(payload["require"])), tuple(approvers))
