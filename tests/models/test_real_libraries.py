"""Real libraries on encrypted models: they find what they would find in the original, and no file in clear is made."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import safetensors
from safetensors.numpy import save_file

from tests.models.watch import Watch
from tests.models.workshop import pattern
from tests.models.workshop import safetensors as written_by_hand
from tests.program import LICENSE, Program
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.models.file.open import open_model
from tiktrue_keys.models.tensors import load_tensors

ONNXRUNTIMES_OWN = frozenset({".cache", "tmp/.ses"})
"""A folder in the user's home and the id of its session, which onnxruntime 1.32 makes when it is imported."""
SEED = numpy.random.default_rng(1)


@pytest.fixture
def node(tmp_path: Path) -> Program:
    """A machine with a key; its temporary folder is its own, so that all that it could write is below its folder."""
    program = Program(tmp_path)
    (tmp_path / "tmp").mkdir()
    program.variables["TMPDIR"] = str(tmp_path / "tmp")
    program.generate("llama")
    return program


@pytest.fixture
def manager(node: Program) -> Iterator[KeyManager]:
    with node.manager() as opened:
        yield opened


def sealed(node: Program, name: str) -> Path:
    """The container of a model, whose own file is gone."""
    node.ok("encrypt-model", name, "--key", "llama")
    path = node.folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    return path.with_name(name + ".ttm")


def of_the_keystore(names: set[str]) -> set[str]:
    return {name for name in names if name.split("/")[0] in ("keystore", "host")}


def run_python(node: Program, container: Path, *lines: str, its_own: frozenset[str] = frozenset()) -> Any:
    """What a Python program prints as JSON about the model that it opens by sys.argv[1]; it writes `its_own` only."""
    script = "\n".join(["import hashlib, json, sys", *lines])
    with Watch(node.folder) as watch:
        words = ["exec-model", str(container), "--", sys.executable, "-B", "-c", script, "{}"]
        found = json.loads(node.ok(*words))
        written = watch.written()
    assert written == of_the_keystore(written) | its_own
    return found


# safetensors


def tensors() -> dict[str, tuple[str, list[int], bytes]]:
    """Every width, the ones that numpy lacks among them."""
    kinds = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1}
    made = {f"layer.{kind}": (kind, [33, 7], pattern(33 * 7 * width)) for kind, width in kinds.items()}
    made["layer.BOOL"] = ("BOOL", [33, 7], bytes(byte & 1 for byte in pattern(231)))
    made["scalar"], made["empty"] = ("F32", [], pattern(4)), ("F32", [0, 5], b"")
    return made


def as_the_library_reads(data: bytes) -> dict[str, tuple[str, list[int], bytes]]:
    found: list[tuple[str, Any]] = safetensors.deserialize(data)  # type: ignore[no-untyped-call]
    return {name: (tensor["dtype"], list(tensor["shape"]), bytes(tensor["data"])) for name, tensor in found}


def test_tensors_are_those_of_the_original_byte_for_byte(node: Program, manager: KeyManager) -> None:
    original = written_by_hand(tensors())
    (node.folder / "model.safetensors").write_bytes(original)
    container = sealed(node, "model.safetensors")
    expected = as_the_library_reads(original)
    with Watch(node.folder) as watch:
        found = {
            tensor.name: (
                tensor.dtype,
                list(tensor.shape),
                bytes(memoryview(tensor.buffer).cast("B")) if tensor.buffer.size else b"",
            )
            for tensor in load_tensors(container, manager, LICENSE)
        }
        written = watch.written()
    assert found == expected == tensors()
    assert found["layer.BF16"][0] == "BF16"
    assert written == of_the_keystore(written)


def test_the_library_reads_it_through_exec_model(node: Program) -> None:
    arrays: dict[str, Any] = {
        "w": SEED.standard_normal((300, 401), dtype=numpy.float32),
        "b": numpy.arange(7, dtype=numpy.int64),
    }
    save_file(arrays, node.folder / "model.safetensors", metadata={"format": "np"})
    found = run_python(
        node,
        sealed(node, "model.safetensors"),
        "from safetensors import safe_open",
        "with safe_open(sys.argv[1], framework='numpy') as model:",
        "    names = list(model.keys())",
        "    sums = {name: hashlib.sha256(model.get_tensor(name).tobytes()).hexdigest() for name in names}",
        "print(json.dumps(sums))",
    )
    assert found == {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}


def test_a_sharded_folder_as_a_hub_has_it(node: Program, manager: KeyManager) -> None:
    folder = node.folder / "llama-7b"
    folder.mkdir()
    shards: dict[str, dict[str, Any]] = {
        f"model-0000{number}-of-00003.safetensors": {
            f"layers.{number}.w": SEED.standard_normal((64, 65), dtype=numpy.float32),
            f"layers.{number}.b": SEED.standard_normal(65, dtype=numpy.float32).astype(numpy.float16),
        }
        for number in (1, 2, 3)
    }
    for name, arrays in shards.items():
        save_file(arrays, folder / name)
    weights = {tensor: name for name, arrays in shards.items() for tensor in arrays}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weights}))
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    container = sealed(node, "llama-7b")
    expected = {tensor: array for arrays in shards.values() for tensor, array in arrays.items()}
    with Watch(node.folder) as watch:
        found = {tensor.name: tensor.buffer for tensor in load_tensors(container, manager, LICENSE)}
        written = watch.written()
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        assert found[name].tobytes() == array.tobytes()
    assert written == of_the_keystore(written)


# ONNX


def onnx_model() -> bytes:
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    weights = SEED.standard_normal((16, 8), dtype=numpy.float32)
    bias = SEED.standard_normal(8, dtype=numpy.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["xw"]), helper.make_node("Add", ["xw", "b"], ["y"])],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def test_onnxruntime_runs_the_bytes_of_an_open_model(node: Program, manager: KeyManager) -> None:
    runtime = pytest.importorskip("onnxruntime")
    original = onnx_model()
    (node.folder / "layer.onnx").write_bytes(original)
    container = sealed(node, "layer.onnx")
    given = {"x": SEED.standard_normal((3, 16), dtype=numpy.float32)}
    (expected,) = runtime.InferenceSession(original, providers=["CPUExecutionProvider"]).run(None, given)
    with Watch(node.folder) as watch:
        with open_model(container, manager, LICENSE) as model:
            session = runtime.InferenceSession(model.read(), providers=["CPUExecutionProvider"])
        (found,) = session.run(None, given)
        written = watch.written()
    assert found.tobytes() == expected.tobytes()
    assert written == of_the_keystore(written)


def test_onnxruntime_runs_it_through_exec_model(node: Program) -> None:
    runtime = pytest.importorskip("onnxruntime")
    original = onnx_model()
    (node.folder / "layer.onnx").write_bytes(original)
    given = {"x": numpy.ones((3, 16), dtype=numpy.float32)}
    (expected,) = runtime.InferenceSession(original, providers=["CPUExecutionProvider"]).run(None, given)
    found = run_python(
        node,
        sealed(node, "layer.onnx"),
        "import numpy, onnxruntime",
        "session = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])",
        "y, = session.run(None, {'x': numpy.ones((3, 16), dtype=numpy.float32)})",
        "print(json.dumps(y.tobytes().hex()))",
        its_own=ONNXRUNTIMES_OWN,
    )
    written = [path for path in node.folder.rglob("*") if path.is_file() and path.suffix != ".ttm"]
    assert not [path for path in written if original[100:164] in path.read_bytes()]
    assert found == expected.tobytes().hex()


# GGUF


def gguf_model(path: Path) -> dict[str, str]:
    """Writes a GGUF file and returns the SHA-256 of each tensor's bytes; one of them is BF16."""
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("made up for tests")
    writer.add_context_length(2048)
    bf16 = numpy.frombuffer(pattern(64 * 32 * 2), dtype=numpy.uint8).reshape(64, 64)
    arrays: dict[str, Any] = {
        "blk.0.attn_q.weight": SEED.standard_normal((64, 32), dtype=numpy.float32),
        "blk.0.attn_k.weight": SEED.standard_normal((64, 32), dtype=numpy.float32).astype(numpy.float16),
    }
    for name, array in arrays.items():
        writer.add_tensor(name, array)
    writer.add_tensor("blk.0.ffn_up.weight", bf16, raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    sums = {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}
    return sums | {"blk.0.ffn_up.weight": hashlib.sha256(bf16.tobytes()).hexdigest()}


def test_gguf_reads_it_through_exec_model(node: Program) -> None:
    expected = gguf_model(node.folder / "llama.gguf")
    found = run_python(
        node,
        sealed(node, "llama.gguf"),
        "import gguf",
        "model = gguf.GGUFReader(sys.argv[1])",
        "kinds = {tensor.name: tensor.tensor_type.name for tensor in model.tensors}",
        "sums = {tensor.name: hashlib.sha256(tensor.data.tobytes()).hexdigest() for tensor in model.tensors}",
        "print(json.dumps([kinds, sums, model.fields['general.name'].contents()]))",
    )
    assert found[1:] == [expected, "made up for tests"]
    assert found[0]["blk.0.ffn_up.weight"] == "BF16"


# The whole file system.


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_file_is_written_anywhere_while_a_program_has_the_model(node: Program, tmp_path: Path) -> None:
    (node.folder / "weights").write_bytes(pattern(3 << 20))
    container, log = sealed(node, "weights"), tmp_path / "calls"
    calls = "open,openat,openat2,creat,mknod,mknodat,rename,renameat,renameat2,link,linkat,memfd_create"
    words = node.argv("exec-model", str(container), "--", "sha256sum", "{}")
    traced = ["strace", "-f", "-qq", "-e", f"trace={calls}", "-e", "signal=none", "-o", str(log), *words]
    environment = node.environment | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(traced, cwd=node.folder, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == hashlib.sha256(pattern(3 << 20)).hexdigest()
    lines = [line for line in log.read_text().splitlines() if not re.search(r"= -1 E|resumed>", line)]
    writing = [line for line in lines if re.search(r"O_WRONLY|O_RDWR|O_CREAT|creat\(|mknod|rename|link", line)]
    elsewhere = [
        line for line in writing if not re.search(rf'"({node.keystore}|{node.folder}/host|/dev/(null|tty))', line)
    ]
    in_folders_of_ours = re.compile(r'(openat|renameat2?|linkat)\(\d+, "\.?[\w.-]*(mark|keystore)')
    assert [line for line in elsewhere if not in_folders_of_ours.search(line)] == []
    assert len([line for line in lines if "memfd_create" in line]) == 1
