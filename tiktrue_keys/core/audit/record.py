"""One audit record: who did what to which key, and the outcome. Its canonical bytes are a leaf of the audit tree.

Come here for the content of a record and its limits. A record can always be written, whatever the name of a host, a
user or a path: such texts are made printable and truncated. Names that the program chooses are checked against their
grammar. Records of version 1 are read and not written any more. This module does not read the environment and stores
nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, field
from typing import Any

from tiktrue_keys.core.audit import plain_form
from tiktrue_keys.core.canonical import MAX_INTEGER, encode_checked, parse_unproven
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.errors import IntegrityError, InternalError

RECORD_LIMIT = 4096
"""The largest size of an encoded record in bytes."""
TEXT_LIMIT = 256
OUTCOMES = ("ok", "refused", "failed")

VERSION = 2
_ACTOR_MEMBERS = {
    1: {"command", "host", "user"},
    VERSION: {"claimed_sudo_user", "command", "host", "login_uid", "uid", "user"},
}
_NAMES = {"event", "outcome", "operation_id", "key_id", "model_id", "before", "after"}
_MEMBERS = _NAMES | {"actor", "detail", "epoch", "number", "time", "v"}
_EVENT = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
_MEMBER = re.compile(r"[a-z][a-z0-9_]{0,31}")
_DETAIL_DEPTH = 4
_LATEST = 253_402_300_799  # 9999-12-31T23:59:59Z
_NO_UID = 2**32 - 1  # the kernel's (uid_t) -1: no login has set it

_LOGGED_IN = re.compile(r"(.+) \(logged in as (.+)\)")

_UNPRINTABLE = re.compile(f"[{plain_form.UNPRINTABLE}]")
_CUT = "\u2026"
_CUT_DETAIL = {"truncated": True}

# Tried in turn until the record fits RECORD_LIMIT: the largest number of characters of a text (twice that of a reason),
# and the largest number of items of a list or object.
_SIZES = ((TEXT_LIMIT, 64), (96, 24), (32, 8))


@dataclass(frozen=True)
class Actor:
    """The user's and the host's name as the system gives them, and the command that runs.

    `uid` is the effective user id. `login_uid` is the kernel's record of who logged in, which sudo(8) and su(1) do not
    change; None where no login has set it. `claimed_sudo_user` is what the caller's environment says, which anybody can
    set to anything.
    """

    user: str
    host: str
    command: str
    uid: int | None = None
    login_uid: int | None = None
    claimed_sudo_user: str | None = None

    @property
    def shown(self) -> str:
        """Return the user as people read it: with the user who logged in, or else the claimed one, behind sudo(8)."""
        behind = self.claimed_sudo_user
        return f"{self.user} (sudo: {behind}?)" if behind and behind not in self.names else self.user

    @property
    def names(self) -> tuple[str, ...]:
        """Return the effective user, and the user who logged in where that is another one."""
        found = _LOGGED_IN.fullmatch(self.user)
        return found.groups() if found else (self.user,)

    def members(self, version: int) -> dict[str, Any]:
        """Return the members that a record of that version has of it."""
        return {name: getattr(self, name) for name in sorted(_ACTOR_MEMBERS[version])}


@dataclass(frozen=True)
class AuditRecord:
    """The record at position `number` (from 0) of the log, written in the keystore's epoch `epoch`.

    `before` and `after` are the key's status around the operation; `detail` is a JSON object without floating point.
    """

    time: Instant
    actor: Actor
    event: str
    outcome: str
    operation_id: str
    key_id: str | None = None
    model_id: str | None = None
    before: str | None = None
    after: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    epoch: int = 1
    number: int = 0
    v: int = VERSION
    _kept: tuple[bytes, dict[str, Any]] | None = field(default=None, init=False, repr=False, compare=False)

    def encode(self) -> bytes:
        """Return the leaf: canonical JSON of at most RECORD_LIMIT bytes.

        Texts of the actor and of `detail` are made printable (U+FFFD) and truncated. Raises InternalError for a name,
        number or outcome that this program does not write.
        """
        return self._written()[0]

    def members(self) -> dict[str, Any]:
        """Return the members as they are in the log, with texts printable and truncated."""
        return self._written()[1]

    def _written(self) -> tuple[bytes, dict[str, Any]]:
        if self._kept is not None:
            return self._kept
        self._check_names()
        for text_limit, item_limit in _SIZES:
            members = self._members(text_limit, _fitted(self.detail, text_limit, item_limit, _DETAIL_DEPTH))
            encoded = encode_checked(members)
            if len(encoded) <= RECORD_LIMIT:
                return encoded, members
        members = self._members(_SIZES[-1][0], _CUT_DETAIL)
        return encode_checked(members), members

    @staticmethod
    def decode(data: bytes) -> AuditRecord:
        """Return the record of a leaf. Raises IntegrityError for anything that `encode` does not write."""
        members = parse_unproven(data, limit=RECORD_LIMIT, what="the audit record")
        if set(members) != _MEMBERS or not _is_actor(members["actor"], members["v"]):
            raise IntegrityError("the audit record has unknown or missing members")
        record = AuditRecord(**{**members, "actor": Actor(**members["actor"])})
        if plain_form.is_written_so(data, members):
            object.__setattr__(record, "_kept", (data, members))
            return record
        try:
            again, written = record._written()
        except InternalError as error:
            raise IntegrityError("the audit record has a malformed member") from error
        if again != data:
            raise IntegrityError("the audit record is not as it would be written")
        object.__setattr__(record, "_kept", (data, written))  # saves an export from encoding it again
        return record

    def _members(self, text_limit: int, detail: Any) -> dict[str, Any]:
        actor = self.actor.members(self.v)
        return {
            "actor": {
                name: _printable(value, text_limit) if isinstance(value, str) else value
                for name, value in actor.items()
            },
            "after": self.after,
            "before": self.before,
            "detail": detail,
            "epoch": self.epoch,
            "event": self.event,
            "key_id": self.key_id,
            "model_id": self.model_id,
            "number": self.number,
            "operation_id": self.operation_id,
            "outcome": self.outcome,
            "time": self.time,
            "v": self.v,
        }

    def _check_names(self) -> None:
        if not _is_event(self.event) or self.outcome not in OUTCOMES:
            raise InternalError("an audit record's event or outcome is malformed")
        optional = (self.key_id, self.model_id, self.before, self.after)
        if not all(_is_name(name) for name in (self.operation_id, *(name for name in optional if name is not None))):
            raise InternalError("a name in an audit record is malformed")
        uids = (uid for uid in (self.actor.uid, self.actor.login_uid) if uid is not None)
        counts = (self.epoch, self.number, *uids)
        if not (_is_count(self.time, _LATEST) and all(_is_count(count) for count in counts)):
            raise InternalError("a number in an audit record is out of range")
        if type(self.detail) is not dict:
            raise InternalError("an audit record's detail is not an object")


def _is_event(value: Any) -> bool:
    return isinstance(value, str) and _EVENT.fullmatch(value) is not None


def _is_count(value: Any, most: int = MAX_INTEGER) -> bool:
    return type(value) is int and 0 <= value <= most


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 128 and value.isascii() and value.isprintable()


def _is_actor(value: Any, version: Any) -> bool:
    if type(version) is not int or version not in _ACTOR_MEMBERS:
        return False
    if not isinstance(value, dict) or set(value) != _ACTOR_MEMBERS[version]:
        return False
    if not isinstance(value.get("claimed_sudo_user", None), str | None):
        return False
    return all(isinstance(value[name], str) for name in ("command", "host", "user"))


def _printable(text: str, limit: int) -> str:
    clean = _UNPRINTABLE.sub("\ufffd", text[: limit + 1])
    return clean if len(clean) <= limit else clean[: limit - 1] + _CUT


def _fitted(value: Any, text_limit: int, item_limit: int, depth: int) -> Any:
    """Return `value` with printable texts and everything truncated to the limits.

    Raises InternalError for a value that our JSON cannot hold.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _printable(value, text_limit)
    if isinstance(value, int) and abs(value) <= MAX_INTEGER:
        return value
    if isinstance(value, dict) and depth:
        return _fitted_object(value, text_limit, item_limit, depth - 1)
    if isinstance(value, (list, tuple)) and depth:
        items = value if len(value) <= item_limit else value[: item_limit - 1]
        fitted = [_fitted(item, text_limit, item_limit, depth - 1) for item in items]
        return fitted if items is value else [*fitted, f"{_CUT} {len(value) - len(items)} more"]
    raise InternalError(f"an audit record's detail holds a {type(value).__name__}")


def _fitted_object(value: dict[str, Any], text_limit: int, item_limit: int, depth: int) -> dict[str, Any]:
    names = sorted(value)
    if not all(_MEMBER.fullmatch(name) for name in names):
        raise InternalError("a member of an audit record's detail is malformed")
    fitted: dict[str, Any] = {}
    for name in names if len(names) <= item_limit else names[: item_limit - 1]:
        limit = 2 * text_limit if name == "reason" and isinstance(value[name], str) else text_limit
        fitted[name] = _fitted(value[name], limit, item_limit, depth)
    return fitted if len(fitted) == len(names) else fitted | _CUT_DETAIL


def actor_of_process(command: str, claimed_sudo_user: str | None = None) -> Actor:
    """Return the effective user (with the user who logged in, where that is another one), the host and the command.

    `claimed_sudo_user` is the caller's claim, and recorded as such.
    """
    uid, login = os.geteuid(), login_uid()
    user = _user_name(uid)
    behind = user if login is None else _user_name(login)
    named = user if behind == user else f"{user} (logged in as {behind})"
    return Actor(named, os.uname().nodename, command, uid, login, claimed_sudo_user or None)


def login_uid(path: str = "/proc/self/loginuid") -> int | None:
    """Return the user id of the login session, which sudo and su do not change; None where there is none (Linux)."""
    try:
        with open(path, encoding="ascii") as file:
            uid = int(file.read(16))
    except (OSError, ValueError):
        return None
    return uid if 0 <= uid < _NO_UID else None


def _user_name(uid: int) -> str:
    import pwd

    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return f"uid {uid}"
