"""Seals a secret to this machine's TPM 2.0: an object below a storage key that the TPM derives from its own seed.

Come here for TPM attributes and policies. Nothing stays in the TPM: the object lies in the keystore's slot, loads only
below this TPM's storage key, and ends with the owner hierarchy (tpm2_clear). Neither key nor object counts for the
TPM's dictionary attack lockout (noDA): without that, three power cuts lock them. References: TPM 2.0 Library, parts 1
and 3; TCG TPM v2.0 Provisioning Guidance, section 7.5.1 (the storage root key's template).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import RefusedError, TikTrueKeysError, UnavailableError, UsageError
from tiktrue_keys.roots.root import foreign, secret_of

NAME = "tpm2"
_VERSION = b"\x01"
_PCRS = 24
_TCTI = re.compile(r"[A-Za-z0-9-]{1,32}(:[^\x00-\x1f\x7f]{0,512})?")
_SYMMETRIC = "aes128cfb"


@dataclass(frozen=True)
class Tpm2:
    """The TPM behind a TCTI (`device:/dev/tpmrm0`), and the PCRs of the SHA-256 bank that a new object depends on."""

    tcti: str
    pcrs: tuple[int, ...] = ()

    def seal(self, secret: memoryview) -> bytes:
        """Return the object: version, PCRs as a bit map, then its public and its private part."""
        with _tpm(self.tcti) as tpm:
            private, public = tpm.create(bytes(secret), self.pcrs)
        mask = sum(1 << number for number in self.pcrs)
        return _VERSION + mask.to_bytes(3, "little") + public + private

    def unseal(self, blob: bytes) -> SecretBuffer:
        """Return the secret of an object that this TPM made."""
        if len(blob) < 4 or blob[:1] != _VERSION:
            raise foreign(NAME, "the slot holds no object of a TPM")
        mask = int.from_bytes(blob[1:4], "little")
        pcrs = tuple(number for number in range(_PCRS) if mask >> number & 1)
        with _tpm(self.tcti) as tpm:
            return secret_of(NAME, tpm.unseal(blob[4:], pcrs))

    def discard(self, blob: bytes) -> None:
        """Return at once: the object is in its slot alone."""


def tpm2_of(values: Mapping[str, str]) -> Tpm2:
    """Return the way of the settings `tcti` and `pcrs` ("7" or "0,2,7"). Raises UsageError."""
    tcti = values.get("tcti", "")
    if not _TCTI.fullmatch(tcti):
        raise UsageError(f"{NAME}: '{tcti[:64]}' is not a TCTI", "write it like device:/dev/tpmrm0")
    return Tpm2(tcti, _pcrs_of(values.get("pcrs", "")))


def _pcrs_of(text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    if not all(word.isascii() and word.isdigit() and int(word[:3]) < _PCRS for word in words):
        raise UsageError(f"{NAME}: '{text[:64]}' is not a list of PCRs", "write numbers from 0 to 23, like 7 or 0,7")
    return tuple(sorted({int(word) for word in words}))


@contextmanager
def _tpm(tcti: str) -> Iterator[_Tpm]:
    """Yield a connection to the TPM. Every error of the TPM's software becomes one of ours."""
    try:
        import tpm2_pytss
    except ImportError as error:
        raise UnavailableError(
            f"{NAME}: the TPM's library is not installed", "install tiktrue-keys[tpm]", remedy="install-tpm"
        ) from error
    try:
        with tpm2_pytss.ESAPI(tcti) as context:
            yield _Tpm(tpm2_pytss, context)
    except tpm2_pytss.TSS2_Exception as error:
        raise _error_of(tpm2_pytss, error) from error
    except (RuntimeError, OSError, ValueError) as error:  # the TCTI's loader and the parser of marshalled parts
        raise UnavailableError(f"{NAME}: the TPM does not answer ({error})", _REACH, remedy="tpm-gone") from error


class _Tpm:
    """One connection. It flushes each object and session that it makes: a TPM without a resource manager has few."""

    def __init__(self, tss: Any, context: Any) -> None:
        self._tss = tss
        self._context = context

    def create(self, secret: bytes, pcrs: Sequence[int]) -> tuple[bytes, bytes]:
        """Return the private and the public part of a new sealed object, marshalled."""
        tss = self._tss
        policy = self._policy_digest(pcrs)
        sensitive = tss.TPM2B_SENSITIVE_CREATE(tss.TPMS_SENSITIVE_CREATE(data=secret))
        with self._storage_key() as parent, self._session(tss.TPM2_SE.HMAC, parent) as session:
            self._context.trsess_set_attributes(session, tss.TPMA_SESSION.DECRYPT | tss.TPMA_SESSION.CONTINUESESSION)
            private, public, *_ = self._context.create(parent, sensitive, _sealed_object(tss, policy), session1=session)
        return private.marshal(), public.marshal()

    def unseal(self, parts: bytes, pcrs: Sequence[int]) -> bytes:
        """Return the secret of an object, over the bus encrypted to this connection."""
        tss = self._tss
        public, private = _parsed(tss, parts)
        attributes = tss.TPMA_SESSION.ENCRYPT | tss.TPMA_SESSION.CONTINUESESSION
        with (
            self._storage_key() as parent,
            self._loaded(parent, private, public) as handle,
            self._session(tss.TPM2_SE.POLICY, parent) as session,
        ):
            self._context.trsess_set_attributes(session, attributes)
            self._extend(session, pcrs)
            return bytes(self._context.unseal(handle, session1=session))

    def _policy_digest(self, pcrs: Sequence[int]) -> Any:
        with self._session(self._tss.TPM2_SE.TRIAL, self._tss.ESYS_TR.NONE) as session:
            self._extend(session, pcrs)
            return self._context.policy_get_digest(session)

    def _extend(self, session: Any, pcrs: Sequence[int]) -> None:
        """Allow unsealing alone, and that only while the PCRs have the values of the sealing."""
        self._context.policy_command_code(session, self._tss.TPM2_CC.Unseal)
        if pcrs:
            listed = "sha256:" + ",".join(str(number) for number in pcrs)
            self._context.policy_pcr(session, None, self._tss.TPML_PCR_SELECTION.parse(listed))

    @contextmanager
    def _storage_key(self) -> Iterator[Any]:
        handle, *_ = self._context.create_primary(None, _storage_template(self._tss), self._tss.ESYS_TR.OWNER)
        with self._flushed(handle):
            yield handle

    @contextmanager
    def _loaded(self, parent: Any, private: Any, public: Any) -> Iterator[Any]:
        with self._flushed(self._context.load(parent, private, public)) as handle:
            yield handle

    @contextmanager
    def _session(self, kind: Any, salted_to: Any) -> Iterator[Any]:
        none = self._tss.ESYS_TR.NONE
        symmetric = self._tss.TPMT_SYM_DEF.parse(_SYMMETRIC)
        handle = self._context.start_auth_session(salted_to, none, kind, symmetric, self._tss.TPM2_ALG.SHA256)
        with self._flushed(handle):
            yield handle

    @contextmanager
    def _flushed(self, handle: Any) -> Iterator[Any]:
        try:
            yield handle
        finally:
            self._context.flush_context(handle)


def _storage_template(tss: Any) -> Any:
    attributes = (
        tss.TPMA_OBJECT.FIXEDTPM
        | tss.TPMA_OBJECT.FIXEDPARENT
        | tss.TPMA_OBJECT.SENSITIVEDATAORIGIN
        | tss.TPMA_OBJECT.USERWITHAUTH
        | tss.TPMA_OBJECT.NODA
        | tss.TPMA_OBJECT.RESTRICTED
        | tss.TPMA_OBJECT.DECRYPT
    )
    return tss.TPM2B_PUBLIC(tss.TPMT_PUBLIC.parse("ecc:aes128cfb", nameAlg="sha256", objectAttributes=attributes))


def _sealed_object(tss: Any, policy: Any) -> Any:
    """Return the template of an object that its policy alone opens: no password, so that none can be guessed."""
    attributes = tss.TPMA_OBJECT.FIXEDTPM | tss.TPMA_OBJECT.FIXEDPARENT | tss.TPMA_OBJECT.NODA
    return tss.TPM2B_PUBLIC(
        tss.TPMT_PUBLIC.parse("keyedhash", nameAlg="sha256", objectAttributes=attributes, authPolicy=policy)
    )


def _parsed(tss: Any, parts: bytes) -> tuple[Any, Any]:
    """Return the public and the private part of an object.

    Raises WrongMachineError for bytes that are not one, and for an object that need not have been made in this TPM: an
    attacker can import one whose secret he knows.
    """
    try:
        public, used = tss.TPM2B_PUBLIC.unmarshal(parts)
        private, _ = tss.TPM2B_PRIVATE.unmarshal(parts[used:])
    except tss.TSS2_Exception as error:
        raise foreign(NAME, "the slot holds no object of a TPM") from error
    fixed = tss.TPMA_OBJECT.FIXEDTPM | tss.TPMA_OBJECT.FIXEDPARENT
    if public.publicArea.type != tss.TPM2_ALG.KEYEDHASH or public.publicArea.objectAttributes & fixed != fixed:
        raise foreign(NAME, "the object in the slot was not made in a TPM for sealing")
    return public, private


_REACH = "check that the device is there and that this user may use it"


def _error_of(tss: Any, error: Any) -> TikTrueKeysError:
    """Return our error for the TPM's response code."""
    codes = tss.TPM2_RC
    if error.error in (codes.INTEGRITY, codes.BINDING, codes.TYPE, codes.SIZE):
        return foreign(NAME, "this TPM did not make the object in the slot, or was cleared since")
    if error.error in (codes.POLICY_FAIL, codes.PCR_CHANGED, codes.POLICY):
        return foreign(NAME, "a PCR has another value than when the secret was sealed")
    if error.error == codes.LOCKOUT:
        return UnavailableError(f"{NAME}: the TPM is locked after failed authorisations", remedy="tpm-locked")
    if error.error in (codes.AUTH_FAIL, codes.BAD_AUTH):
        return RefusedError(f"{NAME}: the TPM's owner hierarchy has a password", remedy="tpm-owner-password")
    return UnavailableError(f"{NAME}: the TPM does not answer ({error})", _REACH, remedy="tpm-gone")
