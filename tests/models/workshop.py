"""A keystore with one model's key, and models to encrypt with it, for the tests of operations on models."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from tests.keystores import LICENSE, Desk
from tests.program import Program
from tiktrue_keys.core.canonical import canonical_json
from tiktrue_keys.core.derivation import MANAGED_KEY_HPKE, subkey, x_wing_public_bytes
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.models.container.container import read_container
from tiktrue_keys.models.container.data_key import open_data_key
from tiktrue_keys.models.container.seal import keystore_signer, seal_container
from tiktrue_keys.models.file.encrypt import encrypt_model
from tiktrue_keys.models.folder.request import FolderRequest
from tiktrue_keys.models.folder.tree import Selection
from tiktrue_keys.models.format.body import BODY_HEADER_LENGTH, SEGMENT_SIZE, TAG_LENGTH, Geometry
from tiktrue_keys.models.format.header import Header, Origin, new_file_id
from tiktrue_keys.models.format.header_slots import HEADER_SIZE, encode_header
from tiktrue_keys.models.format.kind import Kind
from tiktrue_keys.models.format.trailer import Trailer, body_root, make_signature
from tiktrue_keys.models.format.wraps import wrap_for_recipient
from tiktrue_keys.models.storage.header_file import read_slots

MODEL = "llama/7b"
FIRST = SEGMENT_SIZE - BODY_HEADER_LENGTH - TAG_LENGTH
"""Plaintext bytes in the first segment."""
NEXT = SEGMENT_SIZE - TAG_LENGTH
"""Plaintext bytes in every later full one."""
EDGES = (0, 1, FIRST - 1, FIRST, FIRST + 1, FIRST + NEXT - 1, FIRST + NEXT, FIRST + NEXT + 1)

_Result = TypeVar("_Result")


def pattern(length: int) -> bytes:
    """`length` bytes that look random and are the same each time."""
    return hashlib.shake_128(b"a model").digest(length)


def folder_request(source: Path, **options: Any) -> FolderRequest:
    """To encrypt a folder under MODEL's key, with its license; the globs of the selection are given one by one."""
    globs = {name: options.pop(name) for name in ("include", "exclude", "plain") if name in options}
    return FolderRequest(source, **{"key": MODEL, "license_key": LICENSE, "selection": Selection(**globs), **options})


class Workshop:
    """A desk with a key for MODEL, and a folder for models beside it."""

    def __init__(self, folder: Path) -> None:
        self.desk = Desk(folder)
        self.manager = self.desk.manager()
        self.manager.generate(MODEL, license_key=LICENSE)
        self.folder = folder / "models"
        self.folder.mkdir()

    @property
    def key(self) -> ManagedKey:
        """The active key of MODEL."""
        return self.manager.find(MODEL)

    def plain(self, length: int = 5000, name: str = "weights.bin") -> Path:
        """A model file of `length` bytes."""
        path = self.folder / name
        path.write_bytes(pattern(length))
        return path

    def sealed(self, length: int = 5000, name: str = "weights.bin") -> Path:
        """A container of such a model, whose file is removed."""
        path = self.plain(length, name)
        made = encrypt_model(self.manager, path, key=MODEL, license_key=LICENSE).destination
        assert isinstance(made, Path)
        path.unlink()
        return made

    def unsigned(self, length: int = 5000, name: str = "ci.ttm", data_key: bytes | None = None) -> Path:
        """A container as CI makes it: for the public half of the key, signed by nobody."""
        key, path = self.key, self.folder / name
        with (
            self.manager.open_key(MODEL, LICENSE, use=Use.ENCRYPT) as opened,
            subkey(opened.secret.view, MANAGED_KEY_HPKE) as seed,
        ):
            public = x_wing_public_bytes(seed.view)
        file_id = new_file_id()
        with SecretBuffer.copy_of(data_key or os.urandom(32)) as secret:
            wrap = wrap_for_recipient(
                secret.view, public, file_id=file_id, model_id=MODEL, key_id=key.key_id, generation=key.generation
            )
            header = Header(file_id, MODEL, "weights.bin", Kind.OTHER, None, Origin.RECIPIENT, (wrap,))
            plain = self.plain(length, "ci.bin")
            with open(plain, "rb") as source, open(path, "wb") as out:
                seal_container(source.fileno(), out.fileno(), header, secret.view, signer=None)
            plain.unlink()
        return path

    def data_key(self, container: Path) -> bytes:
        """The data key of a container, as a node that may open it has it."""
        with open(container, "rb") as file:
            header = read_slots(file.fileno()).current.header
        with open_data_key(self.manager, header, LICENSE, Use.DECRYPT_DEPRECATED) as opened:
            return bytes(opened.secret.view)

    def forge(self, container: Path, index: int) -> None:
        """Put another plaintext into a full segment, as a node can that has the data key: its tag is right."""
        with SecretBuffer.copy_of(self.data_key(container)) as secret, container.open("r+b") as file:
            cipher = read_container(file.fileno()).cipher(secret.view)
            segment = Geometry().segment(index, 1 << 40)
            sealed = bytearray(segment.body_length)
            cipher.seal(index, False, memoryview(bytes(segment.plain_length)), memoryview(sealed))
            file.seek(HEADER_SIZE + segment.body_offset)
            file.write(sealed)

    def names(self) -> set[str]:
        """Every file of the models' folder."""
        return {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if not path.is_dir()}

    def paths(self) -> list[str]:
        """The paths in the registry, below the models' folder."""
        return [record.path.removeprefix(f"{self.folder}/") for record in self.manager.containers()]

    def program(self) -> Program:
        """The command line on this keystore, which is closed here."""
        self.manager.close()
        at = {"TIKTRUE_KEYS_HOME": str(self.desk.folder), "TIKTRUE_HOST_SECRET_FILE": str(self.desk.secret)}
        return Program(self.folder.parent, {**at, "TIKTRUE_LICENSE_KEY": LICENSE})

    def last_events(self, count: int) -> list[tuple[str, str]]:
        """Event and outcome of the newest audit records, oldest first."""
        records = list(self.manager.audit_records())[-count:]
        return [(record.event, record.outcome) for record in records]


def stretch(manager: KeyManager, path: Path, data_key: bytes, length: int) -> None:
    """Make a container one of `length` bytes of plaintext: a sparse file whose front and last bytes are right.

    Its leaves and its body are zero, so that whatever opens a segment finds it changed.
    """
    with SecretBuffer.copy_of(data_key) as secret, path.open("r+b") as file:
        old = read_container(file.fileno())
        header, count = old.header.with_length(length), old.geometry.segment_count(length)
        leaves = bytes(32 * count)
        root = body_root(header.file_id, old.body, old.geometry, length, leaves)
        trailer = Trailer(count, length, root, leaves)
        signer = keystore_signer(manager, "llama")
        trailer = trailer.signed(make_signature(header, old.body, trailer, issuer=signer.issuer, sign=signer.sign))
        file.truncate(HEADER_SIZE + BODY_HEADER_LENGTH)
        file.write(encode_header(header, secret.view))
        file.seek(HEADER_SIZE + old.geometry.body_length(length) + 32 * count)
        file.write(trailer.encode_tail())


def signed_again(shop: Workshop, manifest: bytes, change: Callable[[Any], object]) -> bytes:
    """A folder's manifest that was changed as a keystore can that is trusted."""
    members = json.loads(manifest)
    change(members["manifest"])
    members["signature"] = shop.manager.sign("manifest", canonical_json(members["manifest"])).hex()
    return canonical_json(members)


def safetensors(tensors: dict[str, tuple[str, list[int], bytes]]) -> bytes:
    """A safetensors file of (dtype, shape, bytes) by name, as its format has it."""
    members, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        members[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    header = json.dumps(members).encode()
    return struct.pack("<Q", len(header)) + header + b"".join(data for _, _, data in tensors.values())


@contextmanager
def fed_pipe(data: bytes) -> Iterator[BinaryIO]:
    """A pipe that `data` comes out of."""
    reading, writing = os.pipe()

    def feed() -> None:
        try:
            with open(writing, "wb") as sink:
                sink.write(data)
        except BrokenPipeError:
            pass

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        with open(reading, "rb", buffering=0) as source:
            yield source
    finally:
        feeder.join()


def drained(write: Callable[[BinaryIO], _Result]) -> tuple[_Result, bytes]:
    """What `write` gives, and what it wrote into the pipe that it got."""
    reading, writing = os.pipe()
    chunks: list[bytes] = []

    def drain() -> None:
        with open(reading, "rb") as source:
            while chunk := source.read(1 << 16):
                chunks.append(chunk)

    drainer = threading.Thread(target=drain)
    drainer.start()
    try:
        with open(writing, "wb") as sink:
            result = write(sink)
    finally:
        drainer.join()
    return result, b"".join(chunks)


def other_manager(folder: Path) -> KeyManager:
    """Another keystore on the same machine, with a key for MODEL under the same license."""
    manager = Desk(folder).manager()
    manager.generate(MODEL, license_key=LICENSE)
    return manager
