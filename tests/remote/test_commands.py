"""The commands, with URLs in the place of paths; and storages of other kinds than S3."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.keystores import LICENSE
from tests.models.workshop import MODEL, Workshop, pattern
from tests.program import Program
from tests.remote.conftest import Bucket, storage_environment
from tests.remote.test_objects import LENGTH
from tiktrue_keys.errors import RefusedError
from tiktrue_keys.models.file.decrypt import decrypt_model
from tiktrue_keys.models.file.encrypt import encrypt_model
from tiktrue_keys.models.file.rewrap import rewrap_model, rewrap_registered
from tiktrue_keys.models.registry.containers import forget, list_containers, scan
from tiktrue_keys.models.storage.location import Url
from tiktrue_keys.models.storage.object_requests import objects_below
from tiktrue_keys.models.storage.upload import Upload


def test_ci_encrypts_into_a_bucket_and_the_keystore_signs_there(tmp_path: Path, bucket: Bucket) -> None:
    (home := tmp_path / "home").mkdir()
    admin = Program(home, storage_environment(bucket.relay.url))
    admin.generate("llama")
    admin.ok("export-public", "llama", "-o", "llama.pub")
    ci = admin.without("TIKTRUE_LICENSE_KEY")
    ci.variables["TIKTRUE_KEYS_HOME"] = str(tmp_path / "no keystore")
    source, url = bucket.put("model.bin", pattern(LENGTH)), bucket.url("model.bin.ttm")
    made = ci.json("encrypt-model", source, "--recipient", "llama.pub")["result"]
    assert (made["source"], made["destination"], made["signed"]) == (source, url, False)
    refused = admin.json("verify-model", url, code=5)
    assert refused["error"]["code"] == "refused"
    signed = admin.json("sign-model", url, "--expect-root", made["root"])
    assert (signed["result"]["path"], signed["changed"]) == (url, True)
    assert admin.run("exec-model", url, "--", "cmp", "-s", "{}", "/dev/null").returncode == 1
    ran = admin.json("models", "list")["result"]["containers"]
    assert [(row["path"], row["state"]) for row in ran] == [(url, "present")]
    assert storage_environment("")["AWS_SECRET_ACCESS_KEY"] not in admin.ok("audit", "show", "--json")


def test_errors_of_the_command_line(tmp_path: Path, bucket: Bucket) -> None:
    (home := tmp_path / "home").mkdir()
    program = Program(home, storage_environment(bucket.relay.url))
    (home / "folder").mkdir()
    given = {
        ("inspect-model", "s3://ada:geheim@bucket/a.ttm"): (2, "usage"),
        ("encrypt-model", "folder", "--key", "llama", "--force", "-o", bucket.url("folder.ttm")): (2, "usage"),
    }
    for words, (code, name) in given.items():
        said = program.json(*words, code=code)
        assert said["error"]["code"] == name
        assert "geheim" not in str(said["error"])
    bucket.relay.cut_up_after = 0
    assert program.json("inspect-model", bucket.url("a.ttm"), code=12)["error"]["code"] == "unavailable"


def test_without_the_extra() -> None:
    lines = (
        "import sys; sys.modules['fsspec'] = None",
        "from tiktrue_keys.cli.program.main import main",
        "sys.argv = ['tiktrue-keys', 'inspect-model', 's3://bucket/a.ttm']; main()",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert done.returncode == 12
    assert "pip install 'tiktrue-keys[remote]'" in done.stderr


def test_the_registry_follows_objects(shop: Workshop, bucket: Bucket) -> None:
    for name in ("a.ttm", "deep/b.ttm"):
        encrypt_model(shop.manager, shop.plain(10), bucket.url(name), key=MODEL, license_key=LICENSE)
    bucket.put("c.txt", b"no container")
    bucket.put("d.ttm", b"no container")
    moved = bucket.put("moved.ttm", bucket.get("a.ttm"))
    bucket.remove("a.ttm")
    assert [item.state for item in list_containers(shop.manager)] == ["missing", "present"]
    found = scan(shop.manager, f"s3://{bucket.name}/", LICENSE)
    assert [record.path for record in found.moved] == [moved]
    assert [record.path for record in found.unchanged] == [bucket.url("deep/b.ttm")]
    assert [path for path, _ in found.failed] == [bucket.url("d.ttm")]
    shop.manager.rotate([MODEL], license_key=LICENSE)
    batch = rewrap_registered(shop.manager, license_key=LICENSE)
    assert [(str(each.path), each.changed) for each in batch.done] == [(bucket.url("deep/b.ttm"), True), (moved, True)]
    (record,) = [record for record in shop.manager.containers() if record.path == moved]
    forget(shop.manager, record.file_id.hex())
    assert [record.path for record in shop.manager.containers()] == [bucket.url("deep/b.ttm")]


@pytest.fixture
def memory() -> Iterator[str]:
    """A storage that shows a file while it is written, and compares nothing."""
    fsspec = pytest.importorskip("fsspec", reason="fsspec is installed by the extra `remote`")
    system = fsspec.filesystem("memory")
    yield "memory://models"
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def test_a_storage_without_uploads_in_parts(shop: Workshop, memory: str) -> None:
    import fsspec

    url, plain = f"{memory}/a.ttm", shop.plain(LENGTH)
    encrypt_model(shop.manager, plain, url, key=MODEL, license_key=LICENSE)
    assert [str(found) for found in objects_below(Url("memory", "models"))] == [url]
    with pytest.raises(RefusedError, match="exists already"):
        encrypt_model(shop.manager, plain, url, key=MODEL, license_key=LICENSE)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with Upload(Url("memory", "models/b"), replace=False) as late:
        late.preface(b"ours")
        fsspec.filesystem("memory").pipe_file("/models/b", b"theirs")
        with pytest.raises(RefusedError, match="exists already"):
            late.commit()
    fsspec.filesystem("memory").rm_file("/models/b")

    with pytest.raises(KeyboardInterrupt):
        encrypt_model(shop.manager, plain, url, key=MODEL, license_key=LICENSE, force=True, progress=stop)
    shop.manager.rotate([MODEL], license_key=LICENSE)
    rewrap_model(shop.manager, url, license_key=LICENSE)
    assert [str(found) for found in objects_below(Url("memory", "models"))] == [url, f"{url}.ttmh"]
    decrypt_model(shop.manager, url, shop.folder / "back", license_key=LICENSE)
    assert (shop.folder / "back").read_bytes() == pattern(LENGTH)
