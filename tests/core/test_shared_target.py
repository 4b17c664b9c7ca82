"""The first process of a run holds the lock; a refusal reaches all. Real clusters: tests/multiprocess."""

import jax
import pytest

from cion_jax.core import shared_target
from cion_jax.core.errors import UserError
from cion_jax.core.shared_target import lock_shared_target
from cion_jax.core.target_lock import lock_target


def test_one_process_locks_as_lock_target(tmp_path):
    with (
        lock_shared_target(tmp_path / "out", "extract"),
        pytest.raises(UserError, match="written by task extract"),
        lock_target(tmp_path / "out", "denoise"),
    ):
        raise AssertionError("the target is held")


@pytest.fixture
def cluster(monkeypatch):
    """Makes this process number `index` of two; `sent` is what process 0 broadcasts."""
    sent = []

    def become(index):
        def broadcast(data):
            if index == 0:
                sent.append(data)
            return sent[-1]

        monkeypatch.setattr(jax, "process_count", lambda: 2)
        monkeypatch.setattr(jax, "process_index", lambda: index)
        monkeypatch.setattr(shared_target.multihost_utils, "broadcast_one_to_all", broadcast)

    return become


def test_only_the_first_process_takes_the_lock(tmp_path, cluster):
    cluster(0)
    with lock_shared_target(tmp_path / "out", "extract"):
        cluster(1)
        with lock_shared_target(tmp_path / "out", "extract"):
            pass
        with pytest.raises(UserError, match="being written"), lock_target(tmp_path / "out", "denoise"):
            raise AssertionError("the first process still holds it")


def test_a_refusal_reaches_every_process(tmp_path, cluster):
    messages = []
    with lock_target(tmp_path / "人", "denoise"):
        for index in (0, 1):
            cluster(index)
            with pytest.raises(UserError) as caught, lock_shared_target(tmp_path / "人", "extract"):
                raise AssertionError("the target is held")
            messages.append(str(caught.value))
    assert messages[0] == messages[1] and "人 is being written by task denoise" in messages[0]


def test_a_folder_that_cannot_be_written_reaches_every_process(tmp_path, cluster):
    (tmp_path / "file").touch()
    for index in (0, 1):
        cluster(index)
        with pytest.raises(UserError, match="file"), lock_shared_target(tmp_path / "file/out", "extract"):
            raise AssertionError("no lock can lie in a file")


def test_a_long_message_is_cut(cluster):
    cluster(0)
    assert shared_target._from_first_process("é" * 9000) == "é" * (shared_target.LONGEST_MESSAGE // 2)
