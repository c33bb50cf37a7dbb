"""Which containers and folders may be released: those that this keystore signed, as they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.keystores import LICENSE
from tests.models.workshop import MODEL, Workshop, folder_request, other_manager
from tiktrue_keys.errors import IntegrityError, NotFoundError, RefusedError, UsageError
from tiktrue_keys.models.file.encrypt import encrypt_model
from tiktrue_keys.models.file.verify import verify_model
from tiktrue_keys.models.folder.encrypt import encrypt_folder
from tiktrue_keys.models.model_release import release_models


def folder(shop: Workshop) -> Path:
    source = shop.folder / "dir"
    source.mkdir()
    for name in ("a.bin", "b.bin"):
        shop.plain(100, f"dir/{name}")
    return Path(str(encrypt_folder(shop.manager, folder_request(source)).destination))


def test_containers_and_folders_are_named_by_id_and_root(shop: Workshop) -> None:
    sealed, there = shop.sealed(), folder(shop)
    made = release_models(shop.manager, [sealed, there])
    (release,) = made.releases
    by_name = {each.name: each for each in release.entries}
    found = verify_model(shop.manager, sealed, license_key=LICENSE)
    assert (by_name["weights.bin"].file_id, by_name["weights.bin"].root) == (found.file_id, found.root)
    assert set(by_name) == {"weights.bin", "dir"}
    assert (made.changed, release.number) == (True, 1)


def test_it_needs_no_license_and_reads_no_body(shop: Workshop) -> None:
    sealed = shop.sealed(3 << 20)
    shop.manager.close()
    with sealed.open("r+b") as file:  # verify-model would find this
        file.seek(2 << 20)
        file.write(b"x")
    assert release_models(shop.manager, [sealed]).changed


def test_what_this_keystore_did_not_sign_is_refused(shop: Workshop, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="not signed"):
        release_models(shop.manager, [shop.unsigned()])
    other = other_manager(tmp_path / "other")
    foreign = shop.sealed()
    with pytest.raises(IntegrityError, match="signed by another keystore"):
        release_models(other, [foreign])
    with pytest.raises(IntegrityError, match="signed by another keystore"):
        release_models(other, [folder(shop)])
    other.close()
    assert shop.last_events(1) == [("encrypt-folder", "ok")]
    with pytest.raises(NotFoundError):
        release_models(shop.manager, [shop.folder / "gone.ttm"])
    with pytest.raises(NotFoundError, match="tiktrue-manifest"):
        release_models(shop.manager, [shop.folder])
    assert shop.manager.releases() == ()


def test_a_folder_must_be_complete(shop: Workshop) -> None:
    there = folder(shop)
    os.rename(there / "a.bin.ttm", there / "c.bin.ttm")
    with pytest.raises(IntegrityError, match="does not match its manifest"):
        release_models(shop.manager, [there])
    assert shop.last_events(1) == [("release", "refused")]


def test_refused_requests(shop: Workshop) -> None:
    with pytest.raises(UsageError, match="nothing to release"):
        release_models(shop.manager)
    with pytest.raises(UsageError, match="nothing to release alone"):
        release_models(shop.manager, withdraw=["0" * 32], only=True)
    for text in ("12", "z" * 32, "00 " * 10 + "00", "0" * 31):
        with pytest.raises(UsageError, match="not a file id"):
            release_models(shop.manager, withdraw=[text])


def test_the_question_comes_after_the_checks_and_nothing_is_read_again(shop: Workshop) -> None:
    old, new = shop.sealed(100, "a.bin"), shop.sealed(100, "b.bin")
    release_models(shop.manager, [old])
    gone = verify_model(shop.manager, old, license_key=LICENSE).file_id.hex()

    def declined() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        release_models(shop.manager, [new], withdraw=[gone], confirm=declined)
    assert shop.manager.releases()[0].number == 1
    with pytest.raises(NotFoundError):
        release_models(shop.manager, [new], withdraw=["00" * 16], confirm=declined)
    made = release_models(shop.manager, [new], withdraw=[gone], confirm=new.unlink, operation_id="once")
    assert (made.changed, len(made.releases[0].entries), len(made.releases[0].withdrawn)) == (True, 1, 1)
    assert made.releases[0].number == 2


def test_an_operation_id_names_one_request(shop: Workshop) -> None:
    first, second = shop.sealed(100, "a.bin"), shop.sealed(100, "b.bin")
    made = release_models(shop.manager, [first], operation_id="once")
    again = release_models(shop.manager, [first], operation_id="once", confirm=second.unlink)
    assert (again.changed, again.releases) == (False, made.releases)
    assert second.exists(), "a repetition does nothing, and asks nothing"
    with pytest.raises(RefusedError, match="was used for release with other arguments"):
        release_models(shop.manager, [second], operation_id="once")


def test_models_of_one_request_get_a_release_each(shop: Workshop) -> None:
    shop.manager.generate("other", license_key=LICENSE)
    first = shop.sealed(100, "a.bin")
    second = encrypt_model(shop.manager, shop.plain(100, "b.bin"), key="other", license_key=LICENSE).destination
    made = release_models(shop.manager, [first, Path(str(second))])
    assert [(each.model_id, each.number) for each in made.releases] == [(MODEL, 1), ("other", 2)]
