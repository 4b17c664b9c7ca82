import flax.linen as nn
import jax
import numpy as np
import pytest

from cion_jax import zoo
from cion_jax.core.errors import UserError
from cion_jax.tasks import batch_size, settings
from cion_jax.train import memory
from configs import base

STEP = 8  # 2 images per identity, 4 devices


class Records:
    """Thirty people with three pictures each, and two pictures of nobody."""

    def __init__(self):
        self.columns = {"identity": np.array([*np.repeat(np.arange(30), 3), -1, -1])}


class Dense(nn.Module):
    """A backbone of one layer on all pixels."""

    @nn.compact
    def __call__(self, images, train=False):
        return nn.Dense(64)(images.reshape(len(images), -1))


@pytest.fixture
def resolve(monkeypatch):
    """Resolves a batch where an image takes a MiB and a unit of memory has `mib`."""

    def call(asked, *, mib=1000, units=1, saved=None, limit=960):
        config = base.get_config()
        config.data.batch_size, config.data.batch_limit = asked, limit
        config.train.curriculum = ((0, 2),)
        monkeypatch.setattr(settings, "batch_multiple", lambda _: STEP)
        monkeypatch.setattr(memory, "device_budget", lambda: (mib * 2**20, units))
        monkeypatch.setattr(batch_size, "_bytes_needed", lambda _, backbone, head, images: images * 2**20)
        return batch_size.resolve(config, None, None, Records(), saved)

    return call


@pytest.mark.parametrize("size", [8, 64])
def test_a_size_that_divides_is_taken(resolve, size):
    assert resolve(size) == size


@pytest.mark.parametrize(("size", "offers"), [(60, ("56", "64")), (7, ("8", "8"))])
def test_one_that_does_not_is_answered_with_its_neighbours(resolve, size, offers):
    with pytest.raises(
        UserError, match=rf"data\.batch_size={size} .* by 8.*take {offers[0]} or {offers[1]}$"
    ):
        resolve(size)


@pytest.mark.parametrize("size", ["large", 0, -8, 3.5, None])
def test_no_number_is_told_what_there_is(resolve, size):
    with pytest.raises(UserError, match=r'data\.batch_size=.* positive number or "auto"'):
        resolve(size)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"mib": 50}, 48),  # memory decides
        ({"mib": 1000}, 56),  # 30 identities x 2 images decide
        ({"mib": 1000, "limit": 40}, 40),  # the limit decides
        ({"mib": 1}, 8),  # at least one multiple is tried
        ({"mib": 7, "units": 4}, 24),  # four devices with room for 7 images each, of whole identities
    ],
)
def test_auto_is_the_largest_that_memory_data_and_limit_allow(resolve, options, size):
    assert resolve("auto", **options) == size


def test_auto_goes_on_with_the_batch_of_the_checkpoint_whatever_is_free(resolve):
    assert resolve("auto", mib=1, saved={"data.batch_size": 40}) == 40
    with pytest.raises(UserError, match=r"data\.batch_size=36 does not divide by 8"):
        resolve("auto", saved={"data.batch_size": 36})


def test_auto_without_room_for_one_multiple_says_what_stands_in_the_way(resolve):
    with pytest.raises(
        UserError,
        match=r"by 8, but 30 identities .* data\.batch_limit=7 allow 7 at most. Raise data.batch_limit to 8",
    ):
        resolve("auto", limit=7)


def test_more_devices_than_the_limit_allows_are_answered_with_the_limit_to_set(resolve):
    """24 images on each of 48 devices are more than 960: the way out is the limit."""
    with pytest.raises(UserError, match=r"Raise data\.batch_limit to 8 or more"):
        resolve("auto", limit=7)


def fit(needs, mib, *, size=64, failing=()):
    """Fits a batch where the compiled step of n images takes needs(n) MiB; returns it, the tries and the lines."""
    tries, said = [], []

    def need(images):
        tries.append(images)
        if images in failing:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm")
        return needs(images) * 2**20

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(memory, "device_budget", lambda: (mib * 2**20, jax.device_count()))
        return batch_size.fit(size, STEP, lambda n: n, need, said.append), tries, said


def test_a_compiled_step_that_fits_is_taken_at_once():
    assert fit(lambda n: n, 64)[:2] == (64, [64])


def test_the_batch_steps_down_until_the_compiled_step_fits():
    found, tries, said = fit(lambda n: 10 + n, 50)
    assert found == 40 and tries == [64, 40]
    assert "64 images do not fit; trying 40" in said[0] and "takes 0.05 of 0.05 GiB per device" in said[1]


def test_a_compiler_that_runs_out_of_memory_counts_as_no_fit():
    assert fit(lambda n: n, 60, failing=(64,))[:2] == (48, [64, 48])


def test_the_smallest_batch_is_tried_whatever_it_needs():
    found, tries, _ = fit(lambda n: 1000 + n, 5)
    assert found == STEP and tries[-1] == STEP and sorted(tries, reverse=True) == tries


def test_the_need_counts_the_state_and_grows_with_batch_and_views():
    def need(batch, views=2):
        config = base.get_config()
        config.crops.global_size = config.crops.local_size = (64, 32)
        config.crops.local_count = views
        head = zoo.DINOHead(64, hidden=32, bottleneck=16)
        return batch_size._bytes_needed(config, Dense(), head, batch)

    two, four, more = need(2), need(4), need(4, views=4)
    weights = 4 * 64 * 32 * 3 * 64
    assert 5 * weights < two < 7 * weights, (
        "student, teacher, two moments, gradients; views and activations are small"
    )
    assert 0 < four - two < more - two
