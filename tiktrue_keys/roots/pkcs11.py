"""Seals a secret under a key in a PKCS#11 token: an HSM, a smart card, or SoftHSM.

Come here for the token's key and for what its errors mean. The key is an AES-256 key that the token makes itself; it is
sensitive and cannot be extracted, so that the secret opens only where the token is. The module runs in this process
with our rights: its path comes from the operator and is checked before it is loaded. Reference: PKCS#11 3.0.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import RefusedError, TikTrueKeysError, UnavailableError, UsageError
from tiktrue_keys.roots.pkcs11_uri import TokenUri, parse_token_uri
from tiktrue_keys.roots.root import SECRET_LENGTH, foreign, secret_of
from tiktrue_keys.roots.trust import must_be_ours

NAME = "pkcs11"
_VERSION = b"\x01"
_LABEL = "tiktrue-keys"
_ID, _NONCE, _TAG = 16, 12, 16
_LENGTH = 1 + _ID + _NONCE + SECRET_LENGTH + _TAG


@dataclass(frozen=True)
class Pkcs11:
    """A token behind a module. `read_pin` returns the user's PIN, and is called once for each connection."""

    module: str
    token: TokenUri
    read_pin: Callable[[], bytes]

    def seal(self, secret: memoryview) -> bytes:
        """Return the secret under a new key of the token: version, key's id, nonce, ciphertext with its tag."""
        key_id, nonce = os.urandom(_ID), os.urandom(_NONCE)
        with self._session(writes=True) as (api, session):
            key = _new_key(api, session, key_id)
            try:
                _must_stay_inside(api, key)
                sealed = key.encrypt(bytes(secret), mechanism=api.Mechanism.AES_GCM, mechanism_param=_gcm(api, nonce))
            except BaseException:
                key.destroy()
                raise
        return _VERSION + key_id + nonce + bytes(sealed)

    def unseal(self, blob: bytes) -> SecretBuffer:
        """Return the secret that a key of this token sealed."""
        if len(blob) != _LENGTH or blob[:1] != _VERSION:
            raise foreign(NAME, "the slot does not hold what a token sealed")
        key_id, nonce, sealed = blob[1 : 1 + _ID], blob[1 + _ID : 1 + _ID + _NONCE], blob[1 + _ID + _NONCE :]
        with self._session(writes=False) as (api, session):
            key = _key(api, session, key_id)
            try:
                opened = key.decrypt(sealed, mechanism=api.Mechanism.AES_GCM, mechanism_param=_gcm(api, nonce))
            except (api.EncryptedDataInvalid, api.EncryptedDataLenRange, api.GeneralError, api.FunctionFailed) as error:
                raise foreign(NAME, "the token's key does not open what is in the slot") from error
        return secret_of(NAME, bytes(opened))

    def discard(self, blob: bytes) -> None:
        """Destroy the key of a blob."""
        with self._session(writes=True) as (api, session):
            _key(api, session, blob[1 : 1 + _ID]).destroy()

    @contextmanager
    def _session(self, *, writes: bool) -> Iterator[tuple[Any, Any]]:
        """Yield the library and a session that is logged in; the module is finalised afterwards."""
        module = must_be_ours(self.module, f"{NAME}: the module")
        try:
            import pkcs11 as api
        except ImportError as error:
            raise UnavailableError(
                f"{NAME}: the library for PKCS#11 is not installed", "install tiktrue-keys[hsm]", remedy="install-hsm"
            ) from error
        try:
            library = api.lib(str(module))
        except (api.PKCS11Error, RuntimeError) as error:
            raise UnavailableError(f"{NAME}: {module} is not a PKCS#11 module that can be loaded") from error
        try:
            token = _the_token(api, library, self.token)
            with _logged_in(api, token, self.read_pin, writes=writes) as session:
                yield api, session
        except api.PKCS11Error as error:
            raise _error_of(api, error) from error
        finally:
            library.finalize()


def pkcs11_of(values: Mapping[str, str], read_pin: Callable[[], bytes]) -> Pkcs11:
    """Return the way of the settings `module` and `token`. Raises UsageError."""
    for name in ("module", "token"):
        if not values.get(name):
            raise UsageError(f"{NAME}: the setting {name} is missing", remedy="name-setting", about={"setting": name})
    return Pkcs11(values["module"], parse_token_uri(values["token"]), read_pin)


def _the_token(api: Any, library: Any, wanted: TokenUri) -> Any:
    """Return the token that the URI names. Raises UnavailableError without one, UsageError when several match."""
    found = [
        token
        for slot in library.get_slots(token_present=True)
        for token in [slot.get_token()]
        if api.TokenFlag.TOKEN_INITIALIZED in token.flags and wanted.matches(_facts(slot, token))
    ]
    if not found:
        raise UnavailableError(f"{NAME}: the token is not there", "plug it in, or compare the URI with the token")
    if len(found) > 1:
        raise UsageError(f"{NAME}: {len(found)} tokens match the URI", "add serial=... to it")
    return found[0]


def _facts(slot: Any, token: Any) -> dict[str, str]:
    text = {"token": token.label, "manufacturer": token.manufacturer_id, "model": token.model, "serial": token.serial}
    return {name: _text(value).rstrip(" \0") for name, value in text.items()} | {"slot-id": str(slot.slot_id)}


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


@contextmanager
def _logged_in(api: Any, token: Any, read_pin: Callable[[], bytes], *, writes: bool) -> Iterator[Any]:
    """Yield a session. A token that one more wrong PIN would lock gets none from here."""
    if api.TokenFlag.USER_PIN_LOCKED in token.flags:
        raise _locked()
    if api.TokenFlag.USER_PIN_FINAL_TRY in token.flags:
        raise UnavailableError(
            f"{NAME}: one more wrong PIN locks the token", "log in once with the token's own program to reset the count"
        )
    pin = read_pin()
    try:
        text = pin.decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{NAME}: the PIN is not UTF-8 text", "write the file again") from None
    with token.open(user_pin=text, rw=writes) as session:
        yield session


def _new_key(api: Any, session: Any, key_id: bytes) -> Any:
    flags = api.MechanismFlag.ENCRYPT | api.MechanismFlag.DECRYPT
    template = {
        api.Attribute.SENSITIVE: True,
        api.Attribute.EXTRACTABLE: False,
        api.Attribute.PRIVATE: True,
        api.Attribute.MODIFIABLE: False,
    }
    return session.generate_key(
        api.KeyType.AES, 256, id=key_id, label=_LABEL, store=True, capabilities=flags, template=template
    )


def _must_stay_inside(api: Any, key: Any) -> None:
    """Raise UnavailableError for a token that made the key, but lets it out."""
    if key[api.Attribute.EXTRACTABLE] or not key[api.Attribute.NEVER_EXTRACTABLE] or not key[api.Attribute.SENSITIVE]:
        raise UnavailableError(f"{NAME}: the token makes keys that can be extracted", "use another token")


def _key(api: Any, session: Any, key_id: bytes) -> Any:
    try:
        return session.get_key(object_class=api.ObjectClass.SECRET_KEY, id=key_id)
    except (api.NoSuchKey, api.MultipleObjectsReturned) as error:
        raise foreign(NAME, "this token does not have the key of the keystore") from error


def _gcm(api: Any, nonce: bytes) -> Any:
    return api.GCMParams(nonce, None, _TAG * 8)


def _locked() -> UnavailableError:
    return UnavailableError(f"{NAME}: the token's PIN is locked", remedy="unlock-token")


def _error_of(api: Any, error: Any) -> TikTrueKeysError:
    """Return our error for the token's. Its text is only a name: a PIN is in none of them."""
    if isinstance(error, api.PinLocked):
        return _locked()
    if isinstance(error, api.PinIncorrect | api.PinInvalid | api.PinLenRange):
        return RefusedError(f"{NAME}: the token does not take the PIN", remedy="wrong-pin")
    if isinstance(error, api.PinExpired | api.UserPinNotInitialized):
        return RefusedError(f"{NAME}: the token's PIN is expired or was never set", remedy="set-pin")
    if isinstance(error, api.MechanismInvalid):
        return UnavailableError(f"{NAME}: the token has no AES-GCM", "use a token that has CKM_AES_GCM")
    words = f"{NAME}: the token does not answer ({type(error).__name__})"
    return UnavailableError(words, "check that it is plugged in and ready")
