"""Features in shards as one array."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_jax import denoise
from cion_jax.core.errors import UserError
from cion_jax.tasks import feature_shards

ROWS, WIDTH = 10, 3
FEATURES = np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype(np.float32)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    about = {"images": ROWS, "width": WIDTH, "shard_rows": 4, "dtype": "float32", "model": "m"}
    paths = [f"{row}.jpg" for row in range(ROWS)]
    feature_shards.begin(folder, about, paths, {"frame": np.arange(ROWS)})
    for number, first, last in feature_shards.missing(folder):
        feature_shards.write_shard(folder, number, FEATURES[first:last], [(1, "torn")] if number == 1 else [])
    return folder


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, ROWS - 1), max_size=15), st.integers(0, ROWS), st.integers(0, ROWS))
def test_rows_are_those_of_the_whole(store, numbers, first, last):
    stored = feature_shards.Stored(store)
    np.testing.assert_array_equal(stored[first:last], FEATURES[first:last])
    np.testing.assert_array_equal(stored[np.array(numbers, np.int64)], FEATURES[numbers])


def test_columns_and_reasons(store):
    images = feature_shards.read_images(store)
    assert images["path"][3] == "3.jpg" and images["frame"].tolist() == list(range(ROWS))
    assert feature_shards.unreadable(store) == [(5, "torn")]
    assert feature_shards.missing(store) == []


def test_denoising_takes_it_as_an_array(store):
    tracklets = np.arange(ROWS) // 3
    found = denoise.denoise_tracklets(feature_shards.Stored(store), tracklets)
    np.testing.assert_array_equal(found, denoise.denoise_tracklets(FEATURES, tracklets))


def test_what_is_torn_or_missing_is_told(store, tmp_path):
    with pytest.raises(UserError, match=r"manifest\.json cannot be read"):
        feature_shards.manifest(tmp_path)
    about = {"images": 2, "width": WIDTH, "shard_rows": 4, "dtype": "float32"}
    feature_shards.begin(tmp_path, about, ["a", "b"], {})
    with pytest.raises(UserError, match=r"features-00000\.npy cannot be read"):
        feature_shards.Stored(tmp_path)
    feature_shards.write_shard(tmp_path, 0, FEATURES[:1], [])
    with pytest.raises(UserError, match="not what manifest"):
        feature_shards.Stored(tmp_path)
    with pytest.raises(UserError, match=r"other work \(images 2, not 3\)"):
        feature_shards.begin(tmp_path, about | {"images": 3}, ["a", "b", "c"], {})


def test_weights_count_by_their_digest_where_there_is_one(tmp_path):
    about = {"images": 1, "width": WIDTH, "shard_rows": 4, "dtype": "float32", "weights": "a", "digest": "1"}
    feature_shards.begin(tmp_path / "f", about, ["a"], {})
    feature_shards.begin(tmp_path / "f", about | {"weights": "b"}, ["a"], {})
    with pytest.raises(UserError, match=r"other work \(digest '1', not '2'\)"):
        feature_shards.begin(tmp_path / "f", about | {"weights": "b", "digest": "2"}, ["a"], {})
    feature_shards.begin(tmp_path / "g", about | {"digest": ""}, ["a"], {})
    with pytest.raises(UserError, match=r"other work \(weights 'a', not 'b'\)"):
        feature_shards.begin(tmp_path / "g", about | {"weights": "b", "digest": ""}, ["a"], {})


def test_a_store_is_removed_and_what_lies_beside_it_stays(tmp_path):
    about = {"images": 2, "width": WIDTH, "shard_rows": 1, "dtype": "float32"}
    feature_shards.begin(tmp_path, about, ["a", "b"], {})
    feature_shards.write_shard(tmp_path, 1, FEATURES[:1], [])
    (tmp_path / "notes.txt").write_text("mine")
    feature_shards.remove(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_another_source_is_refused_though_it_is_as_large(tmp_path):
    about = {"images": 2, "width": WIDTH, "shard_rows": 4, "dtype": "float32"}
    begin = feature_shards.begin
    begin(tmp_path, about, ["a", "b"], {"frame": np.arange(2)})
    begin(tmp_path, about, ["a", "b"], {"frame": np.arange(2)})
    for paths, frame in ((["a", "c"], [0, 1]), (["a", "b"], [0, 2])):
        with pytest.raises(UserError, match="features of other images, the source has changed"):
            begin(tmp_path, about, paths, {"frame": np.array(frame)})


def test_paths_that_are_no_text_are_kept_readable(tmp_path):
    about = {"images": 1, "width": WIDTH, "shard_rows": 4, "dtype": "float32"}
    paths = [b"a\xff.jpg".decode(errors="surrogateescape")]
    feature_shards.begin(tmp_path, about, paths, {})
    feature_shards.begin(tmp_path, about, paths, {})
    assert feature_shards.read_images(tmp_path)["path"].tolist() == ["a\\udcff.jpg"]
