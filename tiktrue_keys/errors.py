"""Every exception of tiktrue-keys, with its code name and its exit code.

A message says what happened, a hint says what to do next; both are lower case, without a full stop, and hold no secret.
Nothing here exits, prints or logs: the command line's error boundary does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, TypedDict


class Advice(TypedDict):
    """What an error says about mending it, as another error takes it over: `OtherError(message, **error.advice)`."""

    hint: str
    remedy: str
    about: Mapping[str, str]


class TikTrueKeysError(Exception):
    """Base of all errors. `code` and `exit_code` are part of the interface.

    `hint` is for the caller in Python and may name a parameter. `remedy` names what mends the error, for a caller that
    has words of its own for that: the command line's are in cli/view/hints.py, with `about` filled in.
    """

    code: ClassVar[str] = "internal"
    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        key_id: str | None = None,
        remedy: str = "",
        about: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.key_id = key_id
        self.remedy = remedy
        self.about: Mapping[str, str] = dict(about or {})

    @property
    def advice(self) -> Advice:
        """The hint and the remedy, for an error that says the same of something larger."""
        return {"hint": self.hint, "remedy": self.remedy, "about": self.about}


class InternalError(TikTrueKeysError):
    """A bug: a state that the code holds to be impossible."""


class UsageError(TikTrueKeysError):
    """Bad syntax, an empty license, two readers of standard input, an ambiguous KEY."""

    code = "usage"
    exit_code = 2


class NotFoundError(TikTrueKeysError):
    """A file, key, node or keystore that is not there."""

    code = "not-found"
    exit_code = 3


class SecurityError(TikTrueKeysError):
    """Base of the errors that say "do not trust this": integrity, machine, license, revocation, permissions."""


class IntegrityError(SecurityError):
    """Bytes that are not what was written: edited, moved, cut, older than known, or signed by a stranger."""

    code = "integrity"
    exit_code = 4


class RefusedError(TikTrueKeysError):
    """The request is understood and not allowed: exists, declined, needs --yes, status, policy or clock forbids."""

    code = "refused"
    exit_code = 5


class BusyError(TikTrueKeysError):
    """Another process holds the lock for longer than the lock timeout."""

    code = "busy"
    exit_code = 6


class PartialError(TikTrueKeysError):
    """Some items of a batch failed; the result lists them."""

    code = "partial"
    exit_code = 7


class WrongMachineError(SecurityError):
    """No slot opens with this machine's facts and host secret."""

    code = "wrong-machine"
    exit_code = 8


class WrongLicenseError(SecurityError):
    """The license is not the one that this key or keystore was made with."""

    code = "wrong-license"
    exit_code = 9


class RevokedError(SecurityError):
    """The key is revoked; final."""

    code = "revoked"
    exit_code = 10


class ExpiredError(TikTrueKeysError):
    """The key's (or card's) period for this use is over."""

    code = "expired"
    exit_code = 11


class UnavailableError(TikTrueKeysError):
    """Something outside failed: disk full, I/O error, etcd, TPM, HSM."""

    code = "unavailable"
    exit_code = 12


class DiskFullError(UnavailableError):
    """No space, or no quota, left; the same code and exit code, and worth a second try once there is some."""


class InsecureError(SecurityError):
    """Permissions, ownership or a symbolic link that would let others read or replace secrets."""

    code = "insecure"
    exit_code = 13


class OperationInterruptedError(TikTrueKeysError):
    """Ctrl-C."""

    code = "interrupted"
    exit_code = 130


class TerminatedError(TikTrueKeysError):
    """SIGTERM."""

    code = "terminated"
    exit_code = 143


class Termination(BaseException):
    """SIGTERM or SIGHUP on its way to the boundary, which makes a TerminatedError of it.

    As KeyboardInterrupt no Exception: nobody may take it for the failure of one item of many.
    """

    code: ClassVar[str] = TerminatedError.code
    message: ClassVar[str] = "terminated; what was begun is undone or will be settled by the next command"


ERRORS: tuple[type[TikTrueKeysError], ...] = (
    InternalError,
    UsageError,
    NotFoundError,
    IntegrityError,
    RefusedError,
    BusyError,
    PartialError,
    WrongMachineError,
    WrongLicenseError,
    RevokedError,
    ExpiredError,
    UnavailableError,
    InsecureError,
    OperationInterruptedError,
    TerminatedError,
)
"""Every concrete error, in the order of its exit code; the exit-code tables are generated from it."""
