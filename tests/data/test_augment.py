import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from cion_jax.core.errors import UserError
from cion_jax.data import augment

GREY_LEVELS = {"mean": (0.0, 0.0, 0.0), "std": (1 / 255, 1 / 255, 1 / 255)}
OFF = {"jitter": 0.0, "grey": 0.0, "blur_probability": (0.0,) * 3, "solarise_probability": (0.0,) * 3}
SMALL = augment.CropPolicy(global_size=(32, 16), local_size=(16, 8), local_count=3)
KEY = jax.random.key(7)
SIZES = np.array([(40, 20), (31, 20), (40, 9), (1, 1), (40, 1), (1, 20), (23, 14), (40, 20)], np.int32)

drawn_by = jax.jit(augment.draw, static_argnames="policy")


def canvas(padding: int = 0) -> np.ndarray:
    rng = np.random.default_rng(0)
    images = np.full((len(SIZES), 40, 20, 3), padding, np.uint8)
    for image, (height, width) in zip(images, SIZES, strict=True):
        image[:height, :width] = rng.integers(0, 256, (height, width, 3))
    return images


@pytest.fixture(scope="module")
def views():
    return augment.multi_crop(KEY, canvas(), SIZES, policy=SMALL, first_row=0)


def test_shapes_types_and_range(views):
    assert views[0].shape == (8, 2, 32, 16, 3) and views[1].shape == (8, 3, 16, 8, 3)
    for view in views:
        levels = (np.asarray(view) * SMALL.std + SMALL.mean) * 255
        assert view.dtype == jnp.float32
        assert levels.min() > -1e-3 and levels.max() < 255.001, (
            "also images of one pixel must give grey levels"
        )
        assert np.std(levels) > 20


def test_the_key_decides(views):
    again = augment.multi_crop(KEY, canvas(), SIZES, policy=SMALL, first_row=0)
    jax.tree.map(np.testing.assert_array_equal, views, again)
    other = augment.multi_crop(jax.random.key(8), canvas(), SIZES, policy=SMALL, first_row=0)
    assert np.mean(np.asarray(views[0]) != np.asarray(other[0])) > 0.5


def test_padding_never_bleeds_in(views):
    white = augment.multi_crop(KEY, canvas(255), SIZES, policy=SMALL, first_row=0)
    jax.tree.map(np.testing.assert_array_equal, views, white)


def assert_same(one: jax.Array, other: jax.Array) -> None:
    """Equal but for 1 value in 1,000, since sums in another order may round to the next grey level."""
    differs = np.abs(np.asarray(one) - np.asarray(other)) > 1e-6
    assert differs.mean() < 1e-3, "a row's views must depend on the key and its global row alone"


def test_views_do_not_depend_on_the_devices(views):
    rows = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), P("data"))
    images, sizes = jax.device_put((canvas(), SIZES), rows)
    spread = augment.multi_crop(KEY, images, sizes, policy=SMALL)
    for one, many in zip(views, spread, strict=True):
        assert many.sharding.is_equivalent_to(rows, many.ndim), "the batch must stay spread over the devices"
        assert_same(one, many)


def test_a_part_of_the_batch_gives_that_part(views):
    images, sizes = np.roll(canvas(), -4, axis=0), np.roll(SIZES, -4, axis=0)
    part = augment.multi_crop(KEY, images, sizes, policy=SMALL, first_row=4)
    for whole, some in zip(views, part, strict=True):
        assert_same(whole[4:], some[:4])
        assert not np.allclose(whole[:4], some[4:]), "rows 8 to 11 must not get the keys of rows 0 to 3"


def test_no_local_views_and_bfloat16(views):
    policy = dataclasses.replace(SMALL, local_count=0)
    globals_, locals_ = augment.multi_crop(KEY, canvas(), SIZES, policy=policy, dtype=jnp.bfloat16)
    assert locals_.shape == (8, 0, 16, 8, 3) and locals_.dtype == globals_.dtype == jnp.bfloat16
    np.testing.assert_allclose(globals_.astype(jnp.float32), views[0], atol=0.02)


def test_everything_off_is_the_image():
    full = {"global_scale": (1.0, 1.0), "local_scale": (1.0, 1.0), "aspect": (0.5, 0.5), "flip": 0.0}
    policy = augment.CropPolicy(
        global_size=(40, 20), local_size=(40, 20), local_count=1, **full, **OFF, **GREY_LEVELS
    )
    for view in augment.multi_crop(KEY, canvas()[:1], SIZES[:1], policy=policy):
        for one in np.asarray(view)[0]:
            np.testing.assert_allclose(one, canvas()[0], atol=1e-4)


def pillow_view(image: Image.Image, view: augment.Draws, size: tuple[int, int]) -> np.ndarray:
    """One view without hue (Pillow's HSV has 8 bits), resized along the width first in any Pillow version."""
    top, left, height, width = view.boxes
    image = image.crop((left, top, left + width, top + height))
    for step in ((size[1], int(height)), size[::-1]):
        image = image.resize(step, Image.Resampling.BICUBIC)
    if view.mirror:
        image = ImageOps.mirror(image)
    enhance = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for operation in np.argsort(view.jitter.rank[:3]):
        image = enhance[operation](image).enhance(float(view.jitter[operation]))
    image = image.convert("L").convert("RGB") if view.grey else image
    image = image.filter(ImageFilter.GaussianBlur(float(view.sigma))) if view.sigma > 0 else image
    return np.asarray(ImageOps.solarize(image) if view.solarise else image, np.float32)


def test_views_follow_pillow_in_order_and_strength():
    policy = dataclasses.replace(SMALL, hue=0.0, **GREY_LEVELS)
    views = augment.multi_crop(KEY, canvas(), SIZES, policy=policy)
    draws = drawn_by(KEY, SIZES, policy=policy)
    for kind, drawn, size in zip(views, draws, (policy.global_size, policy.local_size), strict=True):
        host = jax.tree.map(np.asarray, drawn)
        for row, view in np.ndindex(kind.shape[:2]):
            height, width = SIZES[row]
            one = jax.tree.map(lambda leaf, place=(row, view): leaf[place], host)
            theirs = pillow_view(Image.fromarray(canvas()[row, :height, :width]), one, size)
            difference = np.abs(np.asarray(kind[row, view]) - theirs)
            # Pillow rounds after every operation, and the next one magnifies that.
            assert difference.max() <= 6 and difference.mean() <= 3, f"view {view} of row {row}: {one}"


def test_draws_follow_the_policy():
    policy = augment.CropPolicy(local_count=2)
    sizes = np.full((2000, 2), (256, 128), np.int32)
    globals_, locals_ = jax.tree.map(np.asarray, drawn_by(KEY, sizes, policy=policy))
    share = lambda boxes: boxes.height * boxes.width / (256 * 128)  # noqa: E731
    for draws, low, high in ((globals_, 0.8, 1.0), (locals_, 0.05, 0.8)):
        assert share(draws.boxes).min() > low - 0.01 and share(draws.boxes).max() < high + 0.01
        assert abs(draws.mirror.mean() - 0.5) < 0.04 and abs(draws.grey.mean() - 0.2) < 0.03
        drawn = draws.sigma[draws.sigma > 0]
        assert drawn.min() >= 0.1 and drawn.max() <= 2.0 and abs(drawn.mean() - 1.05) < 0.05
    np.testing.assert_allclose((globals_.sigma > 0).mean(0), (1.0, 0.1), atol=0.03)
    np.testing.assert_allclose((locals_.sigma > 0).mean(), 0.5, atol=0.03)
    np.testing.assert_allclose(globals_.solarise.mean(0), (0.0, 0.2), atol=0.03)
    assert not locals_.solarise.any()


@pytest.mark.parametrize(
    "wrong",
    [
        {"flip": 1.5},
        {"blur_probability": (0.1, -0.2, 0.3)},
        {"blur_probability": (0.1, 0.2)},
        {"local_scale": (0.5, 0.2)},
        {"global_scale": (0.5, 1.2)},
        {"aspect": (0.0, 0.5)},
        {"local_count": -1},
        {"hue": 0.7},
        {"local_size": (0, 8)},
        {"std": (0.0, 1.0, 1.0)},
        {"contrast": -0.1},
    ],
)
def test_a_wrong_policy_names_the_field(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        augment.CropPolicy(**wrong)


def test_lists_from_a_config_are_taken():
    assert hash(augment.CropPolicy(global_size=[64, 32])) == hash(augment.CropPolicy(global_size=(64, 32)))
