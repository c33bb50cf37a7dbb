"""What acts return: frozen, complete, printable by somebody else."""

from __future__ import annotations

from dataclasses import dataclass

from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.dispatch.distribution_request import KeyDistributionRequest
from tiktrue_keys.core.fingerprint import Binding, DriftReport
from tiktrue_keys.core.keys.key_results import Failure, Kept, KeyCheck, Rotation
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.notices import Notice


@dataclass(frozen=True, kw_only=True)
class OperationResult:
    """Of every act. `changed` is False for a dry run, for nothing to do, and for a repeated operation id."""

    operation_id: str
    changed: bool
    warnings: tuple[Notice, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GenerateResult(OperationResult):
    """New keys, and whether the keystore was made with them."""

    keys: tuple[ManagedKey, ...]
    created_keystore: bool = False
    binding: Binding | None = None


@dataclass(frozen=True, kw_only=True)
class RotateResult(OperationResult):
    """Rotations done (or planned), keys left out with the reason, and containers that still name an old key."""

    rotations: tuple[Rotation, ...] = ()
    failures: tuple[Failure, ...] = ()
    containers: tuple[ContainerRecord, ...] = ()
    distributions: tuple[KeyDistributionRequest, ...] = ()
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True)
class RevokeResult(OperationResult):
    """Revoked keys, their successors where asked for, and the containers that need reencrypt-model."""

    keys: tuple[ManagedKey, ...] = ()
    successors: tuple[Rotation, ...] = ()
    containers: tuple[ContainerRecord, ...] = ()
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True)
class CleanupResult(OperationResult):
    """What cleanup marked for destruction, destroyed, took the mark off, and left alone."""

    marked: tuple[ManagedKey, ...] = ()
    destroyed: tuple[ManagedKey, ...] = ()
    cancelled: tuple[ManagedKey, ...] = ()
    kept: tuple[Kept, ...] = ()
    dry_run: bool = False


@dataclass(frozen=True)
class ValidateResult:
    """Checks of keys, of the binding, and with `deep` of every row and audit record."""

    checks: tuple[KeyCheck, ...]
    binding: Binding
    drift: DriftReport
    audit_size: int
    deep: bool
    warnings: tuple[Notice, ...] = ()
