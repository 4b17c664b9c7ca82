"""Rows of rendered people, with a tiny generator in the real one's place."""

import dataclasses
import sys
import textwrap

import numpy as np
import pytest

from cion_jax.data.decode import decode_jpeg
from cion_jax.data.importers import synthetic

GENERATOR = textwrap.dedent(
    """
    import numpy as np

    def count(spec, split):
        return {"train": spec.people, "query": 2, "gallery": 0}[split]

    def table(spec, split):
        number = np.arange(count(spec, split))
        columns = {"identity": number // 2, "tracklet": number, "video": number * 0, "camera": number % 3}
        return columns | {"frame": number}

    def render(spec, split, index):
        return np.full((16, 8, 3), (index + spec.seed + 100 * (split == "query")) % 256, np.uint8)
    """
)


@dataclasses.dataclass(frozen=True)
class Spec:
    people: int
    seed: int = 0


@pytest.fixture
def generator(tmp_path, monkeypatch):
    """A module that spawned processes find too: they inherit sys.path."""
    (tmp_path / "tiny_people.py").write_text(GENERATOR)
    # The specification must be found by name in the worker processes as well.
    (tmp_path / "tiny_spec.py").write_text(
        "import dataclasses\n"
        "@dataclasses.dataclass(frozen=True)\n"
        "class Spec:\n"
        "    people: int\n"
        "    seed: int = 0\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "tiny_people"
    for name in ("tiny_people", "tiny_spec"):
        sys.modules.pop(name, None)


def test_rows_carry_rendered_images_and_the_tables_numbers(generator):
    rows = list(synthetic.rows(Spec(40, seed=3), workers=0, generator=generator))
    assert len(rows) == synthetic.count(Spec(40), generator=generator) == 42
    assert [row.split for row in rows] == ["train"] * 40 + ["query"] * 2
    row = rows[17]
    assert (row.identity, row.tracklet, row.video, row.camera, row.frame) == (8, 17, 0, 2, 17)
    assert all(type(value) is int for value in (row.identity, row.frame)), (
        "NumPy integers do not belong in rows"
    )
    assert len({row.path for row in rows}) == 42
    np.testing.assert_allclose(decode_jpeg(row.file), 20, atol=2)
    np.testing.assert_allclose(decode_jpeg(rows[41].file), 104, atol=2)


def test_processes_render_the_same_as_this_one(generator):
    from tiny_spec import Spec as FoundSpec

    spec = FoundSpec(230)
    alone = list(synthetic.rows(spec, workers=0, generator=generator))
    assert list(synthetic.rows(spec, workers=2, generator=generator)) == alone


def test_a_pool_that_breaks_is_done_without(generator, monkeypatch):
    from concurrent.futures.process import BrokenProcessPool

    def broken(*_, **__):
        raise BrokenProcessPool("no main module to spawn")

    monkeypatch.setattr(synthetic, "ProcessPoolExecutor", broken)
    rows = list(synthetic.rows(Spec(230), workers=2, generator=generator))
    assert [row.frame for row in rows] == [*range(230), 0, 1]
