"""Makes the container, keystore, checkpoint and block vectors of this folder, with fixed keys and fixed randomness.

    python -m tests.vectors.make_vectors

A test makes them again and compares: a changed byte is a changed format. Two values cannot be made again and are taken
over from the files that are there: the HPKE wrap of container-recipient.ttm, which holds randomness of OpenSSL's own,
and the deflated record of keystore.json, because builds of zlib deflate differently. No other record is deflated.
"""

from __future__ import annotations

from tests.vectors.container_vectors import block_vectors, container_vectors
from tests.vectors.keystore_vectors import checkpoint_vectors, keystore_vectors
from tests.vectors.known import HERE


def all_vectors() -> dict[str, bytes]:
    """Every file's name and content."""
    return {**container_vectors(), **keystore_vectors(), **checkpoint_vectors(), **block_vectors()}


if __name__ == "__main__":
    for file_name, content in all_vectors().items():
        (HERE / file_name).write_bytes(content)
