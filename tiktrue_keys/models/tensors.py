"""Loads the tensors of encrypted safetensors, one file or a sharded folder, one at a time in file order."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from os import PathLike
from typing import TYPE_CHECKING, Any

from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.notices import Notice, each_once
from tiktrue_keys.errors import IntegrityError, NotFoundError, UsageError
from tiktrue_keys.models.container.data_key import asked_once
from tiktrue_keys.models.container.model_file import ModelFile
from tiktrue_keys.models.container.released import check_folder
from tiktrue_keys.models.file.decrypt import ReadOptions
from tiktrue_keys.models.file.open import log_warnings, open_expected
from tiktrue_keys.models.folder.manifest_file import trusted_manifest
from tiktrue_keys.models.folder.plain import must_be_listed
from tiktrue_keys.models.format.manifest import ContainerEntry, ListedContainer, Manifest, ManifestEntry, PlainEntry
from tiktrue_keys.models.format.safetensors import BITS, LENGTH_BYTES, TensorPlace, header_length, parse_header
from tiktrue_keys.models.storage.location import Place, Url, parse_place
from tiktrue_keys.models.storage.protocol import storage_of
from tiktrue_keys.models.storage.readable import pread_full, size_of

if TYPE_CHECKING:
    import numpy
    from _typeshed import WriteableBuffer

_ENDING = ".safetensors"
_INDEX = ".safetensors.index.json"
_MAX_INDEX = 64 << 20

_NUMPY = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "C64": "<c8",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "<i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "<u1",
    "BOOL": "|b1",
    "BF16": "<u2",
}


@dataclass(frozen=True)
class Tensor:
    """One tensor. `dtype` as safetensors spells it (`F32`, `BF16`, `F8_E4M3` …).

    `buffer` is the caller's buffer from `out`, or a numpy array of `shape`. numpy lacks BF16 and 8-bit floats: they are
    uint16 and uint8 arrays. A dtype of less than a byte is a flat uint8 array.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    buffer: Any

    def __iter__(self) -> Iterator[Any]:
        """Iterate over name, dtype, shape and buffer, so that a tensor unpacks like a tuple."""
        return iter((self.name, self.dtype, self.shape, self.buffer))


class Tensors(Iterator[Tensor]):
    """The tensors of a model, each loaded when it is asked for. `warnings` are those of opening the model's files."""

    def __init__(self, tensors: Generator[Tensor, None, None], opened: ExitStack, warnings: tuple[Notice, ...]) -> None:
        self.warnings = warnings
        self._tensors = tensors
        self._opened = opened

    def __next__(self) -> Tensor:
        """Load the next tensor."""
        return next(self._tensors)

    def close(self) -> None:
        """Close the model's files. The last tensor does so too."""
        self._tensors.close()
        self._opened.close()


_Opener = Callable[[Place, ListedContainer | None], ModelFile]
"""Opens the container at a path; what the manifest lists is given for a file of a folder."""


def load_tensors(
    path: str | PathLike[str] | Url,
    manager: KeyManager,
    license_key: License | None = None,
    *,
    names: Collection[str] | None = None,
    out: Mapping[str, WriteableBuffer] | None = None,
    allow_deprecated: bool = False,
    allow_unsigned: bool = False,
    allow_superseded: bool = False,
) -> Tensors:
    """Yield the tensors of FILE.safetensors.ttm, or of all shards of an encrypted folder.

    A folder in object storage is a URL that ends with a slash. `names` limits the tensors; `out` maps names to writable
    buffers of exactly the tensor's size. The warnings of the opening are in `warnings` of what is returned, and are
    logged. Raises NotFoundError, before any tensor is loaded, when a name is missing;
    UsageError for a buffer of the wrong size; IntegrityError when a file is not valid safetensors or the shards do not
    match the folder's index; and the errors of open_model.
    """
    license_key, stack = asked_once(license_key), ExitStack()

    options = ReadOptions(allow_deprecated, allow_unsigned, allow_superseded)

    def opener(place: Place, listed: ListedContainer | None) -> ModelFile:
        return open_expected(place, manager, license_key, options, listed)

    try:
        place = parse_place(path)
        manifest = _manifest(place, manager)
        of_folder: tuple[Notice, ...] = ()
        if manifest is not None:
            of_folder = check_folder(manager, manifest, place, options.releases())
        shards = _open_shards(place, manifest, opener, stack)
        plan = [(shard, place) for shard in shards for place in _places(shard) if names is None or place.name in names]
        _must_be_all(plan, names)
    except BaseException:
        stack.close()
        raise
    warnings = each_once((*of_folder, *(notice for shard in shards for notice in shard.warnings)))
    log_warnings(warnings)
    return Tensors(_load(stack, plan, out or {}), stack, warnings)


def _load(
    stack: ExitStack, plan: list[tuple[ModelFile, TensorPlace]], out: Mapping[str, WriteableBuffer]
) -> Generator[Tensor, None, None]:
    with stack:
        for shard, place in plan:
            given = out.get(place.name)
            buffer: Any = _array(place) if given is None else given
            with memoryview(buffer) as view:
                if view.nbytes != place.size:
                    raise UsageError(f"the buffer for '{place.name[:80]}' has {view.nbytes} bytes, not {place.size}")
                if place.size:
                    shard.readinto_at(view, place.offset)
            yield Tensor(place.name, place.dtype, place.shape, buffer)


def _array(place: TensorPlace) -> numpy.ndarray[Any, Any]:
    import numpy

    if BITS[place.dtype] < 8:
        return numpy.empty(place.size, dtype=numpy.uint8)
    return numpy.empty(place.shape, dtype=numpy.dtype(_NUMPY.get(place.dtype, "<u1")))


def _places(shard: ModelFile) -> tuple[TensorPlace, ...]:
    first = bytearray(LENGTH_BYTES)
    got = shard.readinto_at(first, 0)
    raw = bytearray(header_length(bytes(first[:got]), shard.length))
    shard.readinto_at(raw, LENGTH_BYTES)
    return parse_header(bytes(raw), shard.length)


def _must_be_all(plan: list[tuple[ModelFile, TensorPlace]], names: Collection[str] | None) -> None:
    found = {place.name for _, place in plan}
    if len(found) != len(plan):
        raise IntegrityError("a tensor is in two shards")
    missing = sorted(set(names or ()) - found)
    if missing:
        raise NotFoundError(f"no tensor '{missing[0][:80]}'" + (f" and {len(missing) - 1} more" if missing[1:] else ""))


def _open_shards(path: Place, manifest: Manifest | None, opener: _Opener, stack: ExitStack) -> list[ModelFile]:
    if manifest is None:
        return [stack.enter_context(opener(path, None))]
    shards = {entry.path: entry for entry in manifest.containers if entry.path.endswith(_ENDING)}
    index = [entry for entry in manifest.files if entry.path.endswith(_INDEX)]
    if len(index) > 1:
        raise UsageError(f"{path} has more than one index", f"name one of its files: {index[0].path}")
    if index:
        weights = _weight_map(path, manifest, index[0], opener)
        folder = index[0].path.rpartition("/")[0]
        wanted = {f"{folder}/{name}" if folder else name for name in weights.values()}
        if not wanted <= set(shards):
            raise IntegrityError(f"shard '{min(wanted - set(shards))[:80]}' of the index is not in the folder")
        shards = {name: shards[name] for name in wanted}
    if not shards:
        raise NotFoundError(f"{path} holds no encrypted safetensors file")
    opened = {}
    for name, entry in sorted(shards.items()):
        opened[name] = stack.enter_context(opener(path / entry.place, manifest.listed(entry)))
    if index:
        _must_match(opened, weights, folder)
    return list(opened.values())


def _manifest(path: Place, manager: KeyManager) -> Manifest | None:
    """Return the verified manifest of an encrypted folder, whose URL ends with a slash; None for a file."""
    return trusted_manifest(manager, path) if storage_of(path).is_folder() else None


def _weight_map(folder: Place, manifest: Manifest, entry: ManifestEntry, opener: _Opener) -> dict[str, str]:
    """Return shards by tensor name from model.safetensors.index.json, encrypted or in clear."""
    if entry.length > _MAX_INDEX:
        raise IntegrityError("the folder's index is too long")
    if isinstance(entry, ContainerEntry):
        with opener(folder / entry.place, manifest.listed(entry)) as model:
            raw = model.read()
    else:
        raw = _checked_bytes(folder, entry)
    try:
        weights = json.loads(raw)["weight_map"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise IntegrityError("the folder's index is malformed") from error
    if not isinstance(weights, dict) or not all(isinstance(shard, str) for shard in weights.values()):
        raise IntegrityError("the folder's index is malformed")
    return weights


def _checked_bytes(folder: Place, entry: PlainEntry) -> bytes:
    with storage_of(folder / entry.place).opened("the folder's index") as found:
        raw = pread_full(found, entry.length, 0)
        must_be_listed(entry, size_of(found), sha256(raw).digest())
    return raw


def _must_match(opened: Mapping[str, ModelFile], weights: Mapping[str, str], folder: str) -> None:
    """Raises IntegrityError unless each tensor is in the shard that the index names, and there are no others."""
    there = {place.name: name for name, shard in opened.items() for place in _places(shard)}
    said = {tensor: f"{folder}/{shard}" if folder else shard for tensor, shard in weights.items()}
    if there != said:
        odd = min(name for name in set(there) | set(said) if there.get(name) != said.get(name))
        raise IntegrityError(f"tensor '{odd[:80]}' is not where the folder's index says")
