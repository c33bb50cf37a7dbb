"""Opens a container's body with Google's Tink alone, given the data key.

usage: open_with_tink.py FILE DATA_KEY_HEX FILE_ID_HEX > plaintext
"""

from __future__ import annotations

import base64
import io
import json
import sys

import tink
from tink import secret_key_access, streaming_aead

# AesGcmHkdfStreamingKey: params (1) | key (3); params: segment size (1), derived key size (2), SHA256 = 3 (3).
PARAMS = b"\x08\x80\x80\x40\x10\x20\x18\x03"


def open_body(file: bytes, data_key: bytes, file_id: bytes) -> bytes:
    """The plaintext of all that lies between the header and the trailer."""
    body = file[65536 : len(file) - 32 - int.from_bytes(file[-24:-16], "big")]
    value = base64.b64encode(b"\x12" + bytes([len(PARAMS)]) + PARAMS + b"\x1a\x20" + data_key).decode()
    data = {
        "typeUrl": "type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey",
        "value": value,
        "keyMaterialType": "SYMMETRIC",
    }
    key = {"keyData": data, "status": "ENABLED", "keyId": 1, "outputPrefixType": "RAW"}
    streaming_aead.register()
    keyset = tink.json_proto_keyset_format.parse(json.dumps({"primaryKeyId": 1, "key": [key]}), secret_key_access.TOKEN)
    cipher = keyset.primitive(streaming_aead.StreamingAead)
    with cipher.new_decrypting_stream(io.BytesIO(body), b"tiktrue-model/1" + file_id) as plaintext:
        return bytes(plaintext.read())


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as container:
        sys.stdout.buffer.write(open_body(container.read(), bytes.fromhex(sys.argv[2]), bytes.fromhex(sys.argv[3])))
