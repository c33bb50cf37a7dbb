"""Detects the kind of a model file from its first bytes and its name. The kind is only a label; do not trust it."""

from __future__ import annotations

from enum import Enum

SNIFF_LENGTH = 512
"""The number of first bytes that `detect_kind` reads."""

_SAFETENSORS_MAX_HEADER = 100_000_000  # the limit of the safetensors library itself
_SUFFIXES = (".safetensors", ".gguf", ".onnx")


class Kind(str, Enum):
    """The kinds that a container's header may name."""

    SAFETENSORS = "safetensors"
    GGUF = "gguf"
    ONNX = "onnx"
    OTHER = "other"


def detect_kind(first_bytes: bytes, name: str = "") -> Kind:
    """Return the kind of a model file: by content for safetensors, GGUF and ONNX, else by the suffix of its name."""
    if first_bytes.startswith(b"GGUF"):
        return Kind.GGUF
    if _looks_like_safetensors(first_bytes):
        return Kind.SAFETENSORS
    if _looks_like_onnx(first_bytes):
        return Kind.ONNX
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix):
            return Kind(suffix[1:])
    return Kind.OTHER


def _looks_like_safetensors(data: bytes) -> bool:
    """A little-endian uint64 header length, then a JSON object."""
    return len(data) > 9 and data[8:9] == b"{" and 2 <= int.from_bytes(data[:8], "little") <= _SAFETENSORS_MAX_HEADER


def _looks_like_onnx(data: bytes) -> bool:
    """An ONNX ModelProto: field 1 (ir_version, a small varint), then field 2, 7 or 8, length-delimited."""
    return len(data) > 3 and data[0] == 0x08 and 1 <= data[1] < 0x20 and data[2] in (0x12, 0x3A, 0x42)
