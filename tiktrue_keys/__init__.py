"""tiktrue-keys: keys for large language models, bound to the machine and to a license.

This is the public Python API; start with KeyManager. Names are loaded when first used, because `tiktrue-keys --help`
imports this package too. Modules below it may move between releases: import from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tiktrue_keys.core.dispatch.distribution_request import KeyDistributionRequest
    from tiktrue_keys.core.keys.lifecycle import ManagedKey
    from tiktrue_keys.core.keys.rotation_event import KeyRotationEvent
    from tiktrue_keys.core.manager import KeyManager
    from tiktrue_keys.errors import SecurityError, TikTrueKeysError
    from tiktrue_keys.models.encryption import ModelEncryption
    from tiktrue_keys.models.file.open import open_model
    from tiktrue_keys.models.tensors import load_tensors

__all__ = [
    "KeyDistributionRequest",
    "KeyManager",
    "KeyRotationEvent",
    "ManagedKey",
    "ModelEncryption",
    "SecurityError",
    "TikTrueKeysError",
    "__version__",
    "load_tensors",
    "open_model",
]

_HOMES = {
    "KeyDistributionRequest": "tiktrue_keys.core.dispatch.distribution_request",
    "KeyManager": "tiktrue_keys.core.manager",
    "KeyRotationEvent": "tiktrue_keys.core.keys.rotation_event",
    "ManagedKey": "tiktrue_keys.core.keys.lifecycle",
    "ModelEncryption": "tiktrue_keys.models.encryption",
    "SecurityError": "tiktrue_keys.errors",
    "TikTrueKeysError": "tiktrue_keys.errors",
    "load_tensors": "tiktrue_keys.models.tensors",
    "open_model": "tiktrue_keys.models.file.open",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
