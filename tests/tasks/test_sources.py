import numpy as np
import pytest
from PIL import Image

from cion_jax.core.errors import UserError
from cion_jax.data import cache, records
from cion_jax.data.synthetic import SyntheticSpec
from cion_jax.tasks import sources
from configs import base


def pictures(folder, *names):
    for number, name in enumerate(names):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((32, 16, 3), 9 * number, np.uint8)).save(file)
    return folder


@pytest.fixture
def market(tmp_path):
    """Market-1501's layout: two people to train on, one to find."""
    return pictures(
        tmp_path / "market",
        "bounding_box_train/0002_c1s1_000451_01.jpg",
        "bounding_box_train/0007_c2s1_000451_01.jpg",
        "query/0001_c1s1_001051_00.jpg",
        "bounding_box_test/0001_c2s1_000301_00.jpg",
        "bounding_box_test/-1_c2s1_000301_00.jpg",
    )


@pytest.fixture
def plain(tmp_path):
    return pictures(tmp_path / "plain", "1/a.jpg", "1/b.jpg", "2/a.jpg")


@pytest.fixture
def open_data(tmp_path):
    said = []

    def call(train, evaluation=""):
        config = base.get_config()
        config.data.train, config.data.eval = str(train), str(evaluation)
        config.data.cache_dir = str(tmp_path / "cache")
        return sources.open_data(config, said.append)

    call.said = said
    return call


def test_query_and_gallery_are_those_of_the_training_data(open_data, market):
    train, evaluation = open_data(market)
    assert len(train) == 2
    assert (len(evaluation.query), len(evaluation.gallery)) == (1, 2)
    assert evaluation.name == str(market)
    assert not open_data.said


def test_or_of_other_data_if_some_are_named(open_data, plain, market):
    train, evaluation = open_data(plain, market)
    assert len(train) == 3
    assert len(evaluation.query) == 1 and evaluation.name == str(market)


def test_training_without_any_is_possible_and_said(open_data, plain):
    train, evaluation = open_data(plain)
    assert len(train) == 3 and evaluation is None
    assert any("no retrieval evaluation" in line and "--config.data.eval" in line for line in open_data.said)


def test_what_is_named_for_evaluation_must_have_them(open_data, plain):
    with pytest.raises(UserError, match=rf"data\.eval={plain} has no query and gallery.*3 train"):
        open_data(plain, plain)


def test_what_is_named_for_training_must_have_training_images(open_data, market, tmp_path):
    for file in (market / "bounding_box_train").iterdir():
        file.unlink()
    with pytest.raises(UserError, match=rf"{market} has no training images; it has 1 query, 2 gallery"):
        open_data(market)


def test_nothing_named_means_synthetic_people_and_is_said(open_data, monkeypatch, plain):
    asked = []

    def resolve(source, folder, **_):
        asked.append(source)
        return real(plain, folder)

    real = cache.resolve
    monkeypatch.setattr(sources.cache, "resolve", resolve)
    train, _ = open_data("")
    assert isinstance(train, records.RecordSet)
    assert asked == [SyntheticSpec(seed=0, identities=300, eval_identities=60, height=256, width=128)]
    assert "no --config.data.train given: training on 300 synthetic people" in open_data.said[0]
