"""The form of a record in a file, and its agreement with TFDS."""

import numpy as np
import pytest

from cion_jax.data.record_schema import (
    COLUMNS,
    FEATURES,
    Record,
    RecordParser,
    check,
    serialise,
    tfds_features,
)

RECORD = Record(b"\xff\xd8 jpeg", 256, 128, 2**40, 7, 8, 9, 10, "sec0/Ä b.jpg")


def test_a_record_survives_the_round_trip():
    assert RecordParser()(serialise(RECORD)) == RECORD


def test_junk_identities_survive_the_round_trip():
    junk = Record(b"x", 1, 1, -1, 0, 0, 0, 0, "")
    assert RecordParser()(serialise(junk)).identity == -1


def test_a_path_that_is_not_unicode_can_be_stored():
    record = Record(b"x", 1, 1, 0, 0, 0, 0, 0, "bad\udcff.jpg")
    assert "bad" in RecordParser()(serialise(record)).path


def test_tfds_serialises_the_same_features():
    features = tfds_features()
    assert set(features) == set(FEATURES)
    example = {name: getattr(RECORD, name) for name in FEATURES}
    assert RecordParser()(features.serialize_example(example)) == RECORD


@pytest.mark.parametrize("data", [b"junk", b"", serialise(RECORD)[:-5]])
def test_other_data_raises(data):
    with pytest.raises(ValueError, match="not a record"):
        RecordParser()(data)


@pytest.mark.parametrize("name", COLUMNS)
def test_numbers_out_of_range_are_named(name):
    fields = {field: getattr(RECORD, field) for field in FEATURES}
    below = -2 if name in ("video", "frame") else -1
    for bad in (below, int(np.iinfo(COLUMNS[name]).max) + 1):
        with pytest.raises(ValueError, match=name):
            check("train", Record(**(fields | {name: bad})))
    check("train", RECORD)


@pytest.mark.parametrize("name", ["video", "frame"])
def test_videos_and_frames_may_be_unknown(name):
    fields = {field: getattr(RECORD, field) for field in FEATURES} | {name: -1}
    check("train", Record(**fields))
    assert getattr(RecordParser()(serialise(Record(**fields))), name) == -1


def test_only_the_gallery_may_hold_junk():
    junk = Record(b"x", 1, 1, -1, 0, 0, 0, 0, "")
    check("gallery", junk)
    with pytest.raises(ValueError, match="identity"):
        check("query", junk)
