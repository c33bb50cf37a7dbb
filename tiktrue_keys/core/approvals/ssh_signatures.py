"""SSH signatures (SSHSIG) of plans: parses them strictly, and asks ssh-keygen(1) whether one is of an approver.

Come here for what counts as a signature: OpenSSH's PROTOCOL.sshsig, namespace `tiktrue-keys`, a plain key. ssh-keygen
verifies; of a key that a security key holds it ignores the flags, so that this module reads them: without the user's
presence (PROTOCOL.u2f) the key was not touched, and a program may have used it unseen.

Does not handle: whether the key is an approver's, and what it signed.
"""

from __future__ import annotations

import base64
import binascii
import os
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tiktrue_keys.core.approvals.ssh_keys import SK_TYPES, MalformedError, SshKey, WireReader
from tiktrue_keys.errors import IntegrityError, RefusedError, UnavailableError

NAMESPACE = "tiktrue-keys"
SSH_KEYGEN = Path("/usr/bin/ssh-keygen")
SIGNATURE_LIMIT = 16 * 1024

_BEGIN, _END = b"-----BEGIN SSH SIGNATURE-----", b"-----END SSH SIGNATURE-----"
_MAGIC, _VERSION = b"SSHSIG", 1
_HASHES = ("sha256", "sha512")
_RSA_ALGORITHMS = ("rsa-sha2-256", "rsa-sha2-512")
_USER_PRESENT = 0x01
_TIMEOUT = 10
_NOT_VERIFIED = b"Could not verify signature"


@dataclass(frozen=True)
class SshSignature:
    """A signature that was not verified yet. `key` is the blob of the signer's public key.

    `counter` is what a security key has counted, None for other keys; it may stand still or be 0.
    """

    data: bytes
    key: bytes
    counter: int | None = None


def parse_signature(data: bytes) -> SshSignature:
    """Return the signature in a file that `ssh-keygen -Y sign` wrote.

    Raises IntegrityError for anything else, RefusedError for the signature of a security key that was not touched.
    """
    try:
        reader = WireReader(_unarmored(data))
        if reader.raw(len(_MAGIC)) != _MAGIC or reader.number() != _VERSION:
            raise MalformedError("it is not an SSHSIG of version 1")
        key, namespace, reserved, digest = reader.string(), reader.text(), reader.string(), reader.text()
        signature = reader.string()
        reader.end()
        if namespace != NAMESPACE:
            raise MalformedError(f"its namespace is not {NAMESPACE}")
        if reserved or digest not in _HASHES:
            raise MalformedError("its hash is unknown")
        return SshSignature(data, key, _counter(WireReader(key).text(), WireReader(signature)))
    except MalformedError as error:
        hint = f"sign the exported plan with ssh-keygen -Y sign -n {NAMESPACE}"
        raise IntegrityError(f"the signature is malformed: {error}", hint, remedy="sign-plan") from error


def _unarmored(data: bytes) -> bytes:
    lines = data[:SIGNATURE_LIMIT].split(b"\n")
    while lines and not lines[-1].strip():
        lines.pop()
    if len(data) > SIGNATURE_LIMIT or len(lines) < 3 or (lines[0].strip(), lines[-1].strip()) != (_BEGIN, _END):
        raise MalformedError("it is not one armored signature")
    try:
        return base64.b64decode(b"".join(line.strip() for line in lines[1:-1]), validate=True)
    except binascii.Error as error:
        raise MalformedError("it is not base64") from error


def _counter(key_type: str, signature: WireReader) -> int | None:
    """Return the counter of a security key's signature. Raises RefusedError when it was not touched."""
    algorithm = signature.text()
    if algorithm not in (_RSA_ALGORITHMS if key_type == "ssh-rsa" else (key_type,)):
        raise MalformedError("its algorithm is not that of its key")
    signature.string()
    counter = None
    if key_type in SK_TYPES:
        flags = signature.raw(1)[0]
        counter = signature.number()
        if not flags & _USER_PRESENT:
            raise RefusedError(
                "the security key signed without being touched",
                "use a key that was generated without no-touch-required, and touch it",
                remedy="touch-key",
            )
    signature.end()
    return counter


class SignatureVerifier:
    """Verifies signatures by ssh-keygen. The files that it reads are in memory: a kill leaves none."""

    def __init__(self, program: Path = SSH_KEYGEN, timeout: float = _TIMEOUT) -> None:
        self._program = program
        self._timeout = timeout

    def verifies(self, signature: SshSignature, key: SshKey, message: bytes) -> bool:
        """Return whether it is a signature by that key over the message.

        Raises UnavailableError when ssh-keygen is missing, does not work or does not end.
        """
        if not os.access(self._program, os.X_OK):
            raise UnavailableError(f"{self._program} is missing: it verifies approvals", remedy="install-ssh-keygen")
        if not hasattr(os, "memfd_create"):
            raise UnavailableError("this system has no files in memory, which the check of approvals needs")
        signers = f'approver namespaces="{NAMESPACE}" {key.text}\n'.encode()
        with ExitStack() as stack:
            files = [_in_memory(stack, content) for content in (signers, signature.data)]
            allowed, signed = (f"/proc/self/fd/{fd}" for fd in files)
            words = ["-Y", "verify", "-f", allowed, "-I", "approver", "-n", NAMESPACE, "-s", signed]
            done = self._run(words, files, message)
        if done.returncode == 0:
            return True
        if _NOT_VERIFIED in done.stdout:
            return False
        reason = done.stderr.decode("utf-8", "replace").strip().partition("\n")[0][:200]
        raise UnavailableError(f"{self._program} does not work: {reason or f'status {done.returncode}'}")

    def _run(self, words: list[str], files: list[int], message: bytes) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(
                [str(self._program), *words],
                input=message,
                capture_output=True,
                pass_fds=files,
                env={"LC_ALL": "C"},
                timeout=self._timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise UnavailableError(f"{self._program} did not end within {self._timeout:g} s") from error
        except OSError as error:
            raise UnavailableError(f"{self._program} does not run: {error.strerror}") from error


def _in_memory(stack: ExitStack, content: bytes) -> int:
    fd = os.memfd_create("tiktrue-keys", os.MFD_CLOEXEC)
    stack.callback(os.close, fd)
    os.write(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
