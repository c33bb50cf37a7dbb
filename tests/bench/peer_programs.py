"""What others' Python packages do with a file, as a user would write it: peer_programs.py PACKAGE seal|open IN OUT.

Keys are fixed: this measures, it protects nothing. Ends in 3 when the package is not installed.
"""

# Packages that nothing else here needs, so that they are not in the lock and have no types.
# mypy: disable-error-code="import-not-found, import-untyped, misc, no-untyped-call, unused-ignore"

from __future__ import annotations

import base64
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

KEY = bytes(range(32))
MIB = 1 << 20


def pyrage_files(operation: str, source: str, target: str) -> None:
    import pyrage

    kept = Path(target).with_name("pyrage.identity")
    if not kept.exists():
        kept.write_text(str(pyrage.x25519.Identity.generate()))
    identity = pyrage.x25519.Identity.from_str(kept.read_text())
    if operation == "seal":
        pyrage.encrypt_file(source, target, [identity.to_public()])
    else:
        pyrage.decrypt_file(source, target, [identity])


def tink_stream(operation: str, source: str, target: str) -> None:
    import json

    import tink
    from tink import secret_key_access, streaming_aead

    params = b"\x08\x80\x80\x40\x10\x20\x18\x03"  # AES256_GCM_HKDF_1MB
    value = base64.b64encode(b"\x12\x08" + params + b"\x1a\x20" + KEY).decode()
    kind = "type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey"
    data = {"typeUrl": kind, "value": value, "keyMaterialType": "SYMMETRIC"}
    keyset = {"primaryKeyId": 1, "key": [{"keyData": data, "status": "ENABLED", "keyId": 1, "outputPrefixType": "RAW"}]}
    streaming_aead.register()
    handle = tink.json_proto_keyset_format.parse(json.dumps(keyset), secret_key_access.TOKEN)
    primitive = handle.primitive(streaming_aead.StreamingAead)
    with open(source, "rb") as given, open(target, "wb") as out:
        if operation == "seal":
            with primitive.new_encrypting_stream(out, b"") as sealing:
                copy(given, sealing)
        else:
            with primitive.new_decrypting_stream(given, b"") as opening:
                copy(opening, out)


def aws_encryption_sdk(operation: str, source: str, target: str) -> None:
    import aws_encryption_sdk as sdk
    from aws_encryption_sdk.identifiers import CommitmentPolicy, EncryptionKeyType, WrappingAlgorithm
    from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
    from aws_encryption_sdk.key_providers.raw import RawMasterKeyProvider

    class Provider(RawMasterKeyProvider):
        provider_id = "bench"

        def _get_raw_key(self, key_id: bytes) -> Any:
            algorithm = WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING
            return WrappingKey(algorithm, KEY, EncryptionKeyType.SYMMETRIC)

    provider = Provider()
    provider.add_master_key(b"bench")
    client = sdk.EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
    with open(source, "rb") as given, open(target, "wb") as out:
        if operation == "seal":
            stream = client.stream(mode="e", source=given, key_provider=provider, frame_length=MIB)
        else:
            stream = client.stream(mode="d", source=given, key_provider=provider)
        with stream as chunks:
            out.writelines(chunks)


def cryptotensors_files(operation: str, source: str, target: str) -> None:
    import cryptotensors
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptotensors.numpy import load_file, save_file

    public = Ed25519PrivateKey.from_private_bytes(KEY).public_key().public_bytes_raw()
    enc = {"kty": "oct", "alg": "aes256gcm", "kid": "e", "k": base64.b64encode(KEY).decode()}
    halves = {"d": base64.b64encode(KEY).decode(), "x": base64.b64encode(public).decode()}
    sign = {"kty": "okp", "alg": "ed25519", "kid": "s", **halves}
    cryptotensors.register_direct_key_provider(keys=[enc, sign])
    config = {"enc_key": enc, "sign_key": sign} if operation == "seal" else None
    save_file(load_file(source), target, config=config)


def copy(source: Any, target: Any) -> None:
    while chunk := source.read(MIB):
        target.write(chunk)


PROGRAMS: dict[str, Callable[[str, str, str], None]] = {
    "pyrage": pyrage_files,
    "tink": tink_stream,
    "aws-encryption-sdk": aws_encryption_sdk,
    "cryptotensors": cryptotensors_files,
}

if __name__ == "__main__":
    try:
        PROGRAMS[sys.argv[1]](*sys.argv[2:])
    except ImportError as error:
        sys.exit(f"not installed: {error.name}")
