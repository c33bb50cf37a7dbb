"""A test passes what the code depends on as arguments. What it replaces instead stands here, with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.project.patches import patches

TESTS = Path(__file__).parents[1]

# One step of an operation fails, or is overtaken by another process, exactly there; no argument reaches the step.
STEPS = {
    "core/containers/test_settlement.py": {"tiktrue_keys.core.containers.intents.apply_settlement"},
    "core/keystore/test_leftovers.py": {"renewal.put_in_place"},
    "core/keystore/test_marks.py": {"Marks.write_at"},
    "core/operations/test_backup.py": {"KeystoreSession.exclusive"},
    "core/test_session.py": {"Operation.remember"},
    "fleet/test_transports.py": {"spool_rounds._sync_tree"},
    "models/file/test_encrypt.py": {"NewFile.commit"},
    "models/file/test_reencrypt.py": {"NewFile.commit", "os.pwrite"},
    "models/file/test_rewrap.py": {"tiktrue_keys.models.storage.header_file.pwrite_synced"},
    "models/file/test_rewrap_batch.py": {"tiktrue_keys.models.storage.header_file.pwrite_synced"},
    "models/folder/test_folders.py": {"os.read", "os.rename"},
    "models/folder/test_reencrypt.py": {"module.must_be_complete", "os.rename"},
    "models/folder/test_resume.py": {"encrypt._make"},
    "models/serving/test_execute.py": {"os.memfd_create", "shop.manager.record_uses"},
    "recovery/test_escrow.py": {"Keystore._commit", "Marks.write", "backup._unrecorded_copy_removed"},
    "recovery/test_recover.py": {"marks.read_mark"},
}
# A child process that was forked for it is killed at a step, or is the program with one of its parts made worse.
CHILDREN = {
    "faults/campaign.py": {"owner.name"},
    "model/test_walk.py": {"PeerProgress.reached"},
    "models/settle/test_interrupted.py": {"os.name", "manager.method"},
    "remote/test_settling.py": {"kill_in.method"},
}
# The machine, the platform or another's library is another one: what no test can bring about.
MACHINE = {
    "cli/program/test_boundary.py": {"sys.stdout"},
    "core/machine/test_supporting.py": {"sys.modules.cpuinfo"},
    "models/file/test_encrypt.py": {"os.posix_fallocate"},
    "models/storage/test_unsynced.py": {"os.posix_fallocate"},
    "models/settle/test_interrupted.py": {"tiktrue_keys.models.settle.interrupted.is_running"},
    "recovery/conftest.py": {"session.read_facts"},
    "recovery/test_recover.py": {"host_secret.default_path"},
}
# A limit is smaller, so that a few files reach it; or what the program asks of the system is counted.
LIMITS = {
    "models/file/test_rewrap_power_cut.py": {"os.pwritev"},
    "core/containers/test_settlement.py": {"tiktrue_keys.core.manager.ROWS_AT_ONCE"},
    "fleet/test_hostile_transport.py": {"arrivals.MAX_PARCELS"},
    "fleet/test_transports.py": {"spool_rounds.MAX_FILE"},
    "models/folder/test_folder_figures.py": {
        "os.name",
        "tiktrue_keys.core.manager.ROWS_AT_ONCE",
        "tiktrue_keys.models.file.rewrap_batch.FILES_AT_ONCE",
        "tiktrue_keys.models.storage.unsynced.FILES_AT_ONCE",
    },
    "models/storage/test_unsynced.py": {"unsynced.BYTES_AT_ONCE", "unsynced.FILES_AT_ONCE"},
    "roots/test_transit.py": {"transit_http.SECONDS"},
}
# Vectors come out the same each time: known bytes in the place of random ones, and no compression, whose result differs
# between versions of zlib.
VECTORS = {
    "vectors/keystore_vectors.py": {"zlib.compressobj"},
    "vectors/known.py": {"os.urandom", "zlib.compressobj"},
}


def known() -> dict[str, set[str]]:
    tables = (STEPS, CHILDREN, MACHINE, LIMITS, VECTORS)
    names = {name for table in tables for name in table}
    return {name: set().union(*(table.get(name, set()) for table in tables)) for name in names}


def test_what_tests_replace_is_known_with_its_reason() -> None:
    assert patches(TESTS) == known()


@pytest.mark.parametrize(
    ("source", "replaced"),
    [
        ("monkeypatch.setattr(os, 'rename', fail)", "os.rename"),
        ("monkeypatch.setattr('tiktrue_keys.core.names.x', 1)", "tiktrue_keys.core.names.x"),
        ("broken.delattr(os, 'link')", "os.link"),
        ("monkeypatch.setitem(sys.modules, 'rich', None)", "sys.modules.rich"),
        ("with patch('os.urandom', known): pass", "os.urandom"),
        ("with patch.object(os, 'urandom', known): pass", "os.urandom"),
        ("setattr(os, name, slower)", "os.name"),
    ],
)
def test_a_planted_patch_is_found(tmp_path: Path, source: str, replaced: str) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "test_a.py").write_text(source, encoding="utf-8")

    assert patches(tmp_path) == {"deep/test_a.py": {replaced}}


@pytest.mark.parametrize(
    "source", ["monkeypatch.setenv('HOME', folder)", "monkeypatch.chdir(folder)", "dispatch('x')", "a.patch = 1"]
)
def test_surroundings_of_the_process_pass(tmp_path: Path, source: str) -> None:
    (tmp_path / "test_a.py").write_text(source, encoding="utf-8")

    assert patches(tmp_path) == {}
