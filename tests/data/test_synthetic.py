import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cion_jax.core.errors import UserError
from cion_jax.data import synthetic
from cion_jax.data.synthetic import COLUMNS, SPLITS, SyntheticSpec

SMALL = SyntheticSpec(identities=24, eval_identities=20, height=64, width=32)


def _digest(spec, order):
    pictures = {index: synthetic.render(spec, "gallery", index).tobytes() for index in order}
    return hashlib.sha256(b"".join(pictures[index] for index in sorted(pictures))).hexdigest()


def test_a_picture_does_not_depend_on_order_or_process():
    forwards = _digest(SMALL, range(12))
    assert _digest(SMALL, reversed(range(12))) == forwards, "render keeps state between calls"
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_synthetic import SMALL, _digest\n"
        "print(_digest(SMALL, [11, *range(11)]))"
    )
    folder = str(Path(__file__).parent)
    other = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == forwards, (
        "another process draws other pictures: look for hash() or set order"
    )


def test_shape_and_type():
    for height, width in ((64, 32), (96, 64), (40, 56)):
        spec = dataclasses.replace(SMALL, height=height, width=width)
        picture = synthetic.render(spec, "train", 0)
        assert picture.shape == (height, width, 3)
        assert picture.dtype == np.uint8
        assert picture.std() > 10, "the picture is empty"


def test_pictures_and_seeds_differ():
    digests = {synthetic.render(SMALL, split, k).tobytes() for split in SPLITS for k in range(15)}
    assert len(digests) == 15 * len(SPLITS)
    other = dataclasses.replace(SMALL, seed=1)
    assert synthetic.render(other, "train", 0).tobytes() not in digests
    assert not np.array_equal(
        synthetic.table(other, "train")["video"], synthetic.table(SMALL, "train")["video"]
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_tables_are_consistent(seed):
    spec = SyntheticSpec(seed=seed)
    tables = {split: synthetic.table(spec, split) for split in SPLITS}
    for split, rows in tables.items():
        assert tuple(rows) == COLUMNS
        assert all(column.dtype == np.int64 for column in rows.values())
        assert all(len(column) == synthetic.count(spec, split) for column in rows.values())
        assert np.array_equal(rows["camera"], rows["video"] // spec.videos_per_camera)
        order = np.lexsort((rows["frame"], rows["tracklet"], rows["video"]))
        assert np.array_equal(order, np.arange(len(order))), (
            "rows are not ordered by (video, tracklet, frame)"
        )
    train, query, gallery = (tables[split] for split in SPLITS)
    assert np.array_equal(np.unique(train["identity"]), np.arange(spec.identities))
    held_out = np.arange(spec.identities, spec.identities + spec.eval_identities)
    assert np.array_equal(np.unique(query["identity"]), held_out)
    assert np.array_equal(np.unique(gallery["identity"]), held_out)
    for rows in (train, {name: np.concatenate([query[name], gallery[name]]) for name in COLUMNS}):
        fixed = np.unique(np.stack([rows["tracklet"], rows["identity"], rows["video"]]), axis=1)
        assert fixed.shape[1] == len(np.unique(rows["tracklet"])), "a tracklet has two identities or videos"
        places = set(zip(rows["tracklet"], rows["frame"], strict=True))
        assert len(places) == len(rows["frame"]), "a frame of a tracklet occurs twice"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_query_has_a_match_in_another_camera(seed):
    spec = SyntheticSpec(seed=seed, eval_identities=40, tracklets_per_identity=(1, 3))
    query, gallery = synthetic.table(spec, "query"), synthetic.table(spec, "gallery")
    pairs = list(zip(query["identity"], query["camera"], strict=True))
    assert len(set(pairs)) == len(pairs), "an (identity, camera) has two queries"
    for identity, camera in pairs:
        matches = (gallery["identity"] == identity) & (gallery["camera"] != camera)
        assert matches.any(), f"identity {identity} from camera {camera} has no match in the gallery"


def test_numbers_of_pictures_are_as_uneven_as_in_life():
    pictures = np.bincount(synthetic.table(SyntheticSpec(), "train")["identity"])
    assert pictures.min() < 4, "no identity has fewer pictures than the sampler draws"
    assert pictures.max() >= 30, "no identity has many pictures"
    assert 2500 <= pictures.sum() <= 3500


def test_table_cannot_be_spoilt_by_its_reader():
    synthetic.table(SMALL, "train")["identity"][:] = 0
    assert synthetic.table(SMALL, "train")["identity"].max() == SMALL.identities - 1


def test_person_is_the_same_in_all_splits():
    identity = int(synthetic.table(SMALL, "query")["identity"][0])
    assert synthetic.person(SMALL, identity) is synthetic.person(SMALL, identity)
    assert synthetic.person(SMALL, 0) != synthetic.person(SMALL, identity)


def test_specification_survives_json():
    again = SyntheticSpec(**json.loads(json.dumps(dataclasses.asdict(SMALL))))
    assert again == SMALL
    assert hash(again) == hash(SMALL)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", -1),
        ("identities", 0),
        ("identities", 2.5),
        ("eval_identities", -1),
        ("cameras", 1),
        ("cameras", True),
        ("tracklets_per_identity", (3, 2)),
        ("tracklets_per_identity", (1, 1)),
        ("images_per_tracklet", (0, 4)),
        ("images_per_tracklet", 4),
        ("height", 8),
        ("width", 1000),
        ("lookalikes", 0),
        ("occlusion", 1.5),
        ("passers_by", float("nan")),
        ("jitter", "much"),
    ],
)
def test_a_bad_value_is_named(name, value):
    with pytest.raises(UserError, match=name):
        SyntheticSpec(**{name: value})


def test_a_bad_split_or_index_is_named():
    with pytest.raises(UserError, match="validation"):
        synthetic.table(SMALL, "validation")
    with pytest.raises(IndexError):
        synthetic.render(SMALL, "train", synthetic.count(SMALL, "train"))
    with pytest.raises(IndexError):
        synthetic.render(SMALL, "train", -1)


def test_training_alone_needs_no_second_camera():
    spec = SyntheticSpec(identities=3, eval_identities=0, cameras=1, height=32, width=16)
    assert synthetic.count(spec, "query") == synthetic.count(spec, "gallery") == 0
    assert set(synthetic.table(spec, "train")["camera"]) == {0}


def _raw_pixel_map(spec):
    """Mean average precision of 16 x 8 pixel thumbnails under Market-1501 rules."""
    features, rows = [], []
    for split in ("query", "gallery"):
        pictures = np.stack([synthetic.render(spec, split, k) for k in range(synthetic.count(spec, split))])
        n, height, width, _ = pictures.shape
        small = pictures.reshape(n, 16, height // 16, 8, width // 8, 3).mean(axis=(2, 4)).reshape(n, -1)
        small -= small.mean(axis=1, keepdims=True)
        features.append(small / np.linalg.norm(small, axis=1, keepdims=True))
        rows.append(synthetic.table(spec, split))
    similarity, (query, gallery) = features[0] @ features[1].T, rows
    precisions = []
    for k, row in enumerate(similarity):
        same = gallery["identity"] == query["identity"][k]
        kept = ~(same & (gallery["camera"] == query["camera"][k]))
        ranks = np.flatnonzero(same[kept][np.argsort(-row[kept], kind="stable")]) + 1
        precisions.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
    return float(np.mean(precisions))


def test_difficulty_stays_where_it_was_fixed():
    spec = SyntheticSpec(identities=1, eval_identities=40, images_per_tracklet=(2, 3), height=64, width=32)
    found = _raw_pixel_map(spec)
    assert 0.05 < found < 0.3, (
        f"raw pixels reach mAP {found:.3f}. The difficulty was fixed (about .15) before any training was "
        "tuned: mend the generator, not this test."
    )
