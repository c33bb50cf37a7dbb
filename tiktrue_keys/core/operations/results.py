"""Immutable results of operations; rendering is the caller's job.

Come here for the fields that every result has.
"""

from __future__ import annotations

from dataclasses import dataclass

from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.dispatch.distribution_request import KeyDistributionRequest
from tiktrue_keys.core.fingerprint import Binding, DriftReport
from tiktrue_keys.core.keys.health import KeyChecks
from tiktrue_keys.core.keys.key_results import Failure, Kept, Rotation
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.notices import Notice


@dataclass(frozen=True, kw_only=True)
class OperationResult:
    """The result of any operation.

    `changed` is False for a dry run, for nothing to do, and for a repeated operation id.
    """

    operation_id: str
    changed: bool
    warnings: tuple[Notice, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GenerateResult(OperationResult):
    """The new keys, and whether the keystore was created with them."""

    keys: tuple[ManagedKey, ...]
    created_keystore: bool = False
    binding: Binding | None = None


@dataclass(frozen=True, kw_only=True)
class RotateResult(OperationResult):
    """The rotations done or planned, the keys left out with the reason, and the containers that still name old keys.

    `laggards` are the nodes that have not acknowledged the rotation before.
    """

    rotations: tuple[Rotation, ...] = ()
    failures: tuple[Failure, ...] = ()
    containers: tuple[ContainerRecord, ...] = ()
    distributions: tuple[KeyDistributionRequest, ...] = ()
    laggards: tuple[str, ...] = ()
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True)
class RevokeResult(OperationResult):
    """The revoked keys, the successors that were requested, and the containers that must be re-encrypted."""

    keys: tuple[ManagedKey, ...] = ()
    successors: tuple[Rotation, ...] = ()
    containers: tuple[ContainerRecord, ...] = ()
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True)
class CleanupResult(OperationResult):
    """The keys that cleanup marked, destroyed, unmarked and kept."""

    marked: tuple[ManagedKey, ...] = ()
    destroyed: tuple[ManagedKey, ...] = ()
    cancelled: tuple[ManagedKey, ...] = ()
    kept: tuple[Kept, ...] = ()
    dry_run: bool = False


@dataclass(frozen=True)
class ValidateResult:
    """The checks of keys and of the binding; with `deep` also of every row and audit record.

    `checks` makes a check when it is read, so that it needs little memory for many keys.
    """

    checks: KeyChecks
    binding: Binding
    drift: DriftReport
    audit_size: int
    deep: bool
    warnings: tuple[Notice, ...] = ()
