"""Device crops against Pillow: how far apart are they, and how fast is either?

`python -m benchmarks.augment [--json FILE]`. Errors are in grey levels of 8-bit images, device minus Pillow
with the same parameters: each operation for itself, then whole views. Rates are images/s of the complete
multi-crop (two global and eight local views by default), the device's against a pool of Pillow processes, one
per core.
"""

import argparse
import dataclasses
import functools
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from cion_jax.data import augment, blur, colour, crops, preprocess


def make_image(index: int, canvas: tuple[int, int]) -> np.ndarray:
    """A picture with slopes, edges and noise, uint8 [h, w, 3], every second one smaller than the canvas."""
    rng = np.random.default_rng(index)
    shrink = 1.0 if index % 2 == 0 else rng.uniform(0.5, 1.0)
    height, width = (max(8, int(side * shrink)) for side in canvas)
    row, column = np.mgrid[:height, :width][..., None] / width  # [h, w, 1] each
    phase, pitch = rng.uniform(0, 6, (2, 3)), rng.uniform(1, 12, (2, 3))
    slopes = 128 + 60 * np.sin(pitch[0] * row + phase[0]) + 50 * np.cos(pitch[1] * column + phase[1])
    patches = rng.integers(-60, 60, (height // 9 + 1, width // 7 + 1, 3)).repeat(9, axis=0).repeat(7, axis=1)
    noise = rng.normal(0, 4, (height, width, 3))
    return np.clip(slopes + patches[:height, :width] + noise, 0, 255).astype(np.uint8)


def on_canvas(images: list[np.ndarray], canvas: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
    batch = np.zeros((len(images), *canvas, 3), np.uint8)
    for place, image in zip(batch, images, strict=True):
        place[: image.shape[0], : image.shape[1]] = image
    return jnp.asarray(batch), jnp.asarray([image.shape[:2] for image in images], jnp.int32)


# --- Pillow, as torchvision drives it ---


def pillow_hue(image: Image.Image, turns: float) -> Image.Image:
    hue, saturation, value = image.convert("HSV").split()
    shifted = (np.asarray(hue).astype(np.int32) + int(turns * 255)) % 256
    return Image.merge("HSV", (Image.fromarray(shifted.astype(np.uint8), "L"), saturation, value)).convert(
        "RGB"
    )


PILLOW_JITTER: tuple[Callable[[Image.Image, float], Image.Image], ...] = (
    lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
    lambda image, factor: ImageEnhance.Contrast(image).enhance(factor),
    lambda image, factor: ImageEnhance.Color(image).enhance(factor),
    pillow_hue,
)


def pillow_view(
    image: Image.Image, view: augment.Draws, size: tuple[int, int], *, width_first: bool = False
) -> np.ndarray:
    """One view with the parameters of `view` (scalars), uint8 [h, w, 3].

    `width_first` holds Pillow 13, which else starts with the cheaper axis, to the order of earlier ones.
    """
    box = view.boxes
    image = image.crop((box.left, box.top, box.left + box.width, box.top + box.height))
    if width_first:
        image = image.resize((size[1], image.height), Image.Resampling.BICUBIC)
    image = image.resize((size[1], size[0]), Image.Resampling.BICUBIC)
    if view.mirror:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    factors = (view.jitter.brightness, view.jitter.contrast, view.jitter.saturation, view.jitter.hue)
    if factors != (1.0, 1.0, 1.0, 0.0):
        for operation in np.argsort(view.jitter.rank):
            image = PILLOW_JITTER[operation](image, float(factors[operation]))
    if view.grey:
        image = image.convert("L").convert("RGB")
    if view.sigma > 0.0:
        image = image.filter(ImageFilter.GaussianBlur(float(view.sigma)))
    if view.solarise:
        image = ImageOps.solarize(image)
    return np.asarray(image)


def pillow_views(task: tuple[np.ndarray, list[tuple[augment.Draws, tuple[int, int]]]]) -> int:
    """All views of one image, normalised as the loader would; gives their number of values."""
    pixels, views = task
    image = Image.fromarray(pixels)
    mean, std = np.float32(augment.IMAGENET_MEAN), np.float32(augment.IMAGENET_STD)
    return sum(((pillow_view(image, *view).astype(np.float32) / 255 - mean) / std).size for view in views)


def split_draws(draws: augment.Draws, row: int) -> list[augment.Draws]:
    """The views of one image as Draws of host scalars."""
    host = jax.tree.map(lambda leaf: np.asarray(leaf)[row], draws)
    return [jax.tree.map(lambda leaf, view=view: leaf[view], host) for view in range(host.mirror.shape[0])]


# --- errors ---


def error_row(name: str, ours: list[np.ndarray], theirs: list[np.ndarray]) -> dict[str, object]:
    difference = np.concatenate(
        [np.abs(np.asarray(a, np.float32) - b).ravel() for a, b in zip(ours, theirs, strict=True)]
    )
    return {
        "operation": name,
        "mean": float(difference.mean()),
        "p99.9": float(np.percentile(difference, 99.9)),
        "max": float(difference.max()),
    }


def planes(pixels: np.ndarray) -> colour.Planes:
    return tuple(jnp.asarray(pixels[..., channel], jnp.float32) for channel in range(3))


def stacked(result: colour.Planes) -> np.ndarray:
    return np.asarray(crops.to_grey_levels(jnp.stack(result, axis=-1)))


def operation_errors(images: list[np.ndarray], rng: np.random.Generator) -> list[dict[str, object]]:
    """Every operation for itself, on whole images of one size."""
    neutral = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
    strength = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1}
    one_jitter = jax.jit(colour.jitter)
    rows = []
    for operation, name in enumerate(neutral):
        ours, theirs = [], []
        for pixels in images:
            factor = neutral[name] + rng.uniform(-strength[name], strength[name])
            values = {key: jnp.float32(value) for key, value in (neutral | {name: factor}).items()}
            ours.append(stacked(one_jitter(planes(pixels), colour.Jitter(**values, rank=jnp.arange(4)))))
            theirs.append(np.asarray(PILLOW_JITTER[operation](Image.fromarray(pixels), factor)))
        rows.append(error_row(name, ours, theirs))
    ours = [stacked(colour.to_grey(planes(pixels), jnp.array(True))) for pixels in images]
    theirs = [np.asarray(Image.fromarray(pixels).convert("L").convert("RGB")) for pixels in images]
    rows.append(error_row("grey", ours, theirs))
    ours = [np.asarray(colour.solarise(jnp.asarray(pixels, jnp.float32), True)) for pixels in images]
    rows.append(
        error_row("solarise", ours, [np.asarray(ImageOps.solarize(Image.fromarray(p))) for p in images])
    )
    return rows + blur_errors(images, rng)


def blur_errors(images: list[np.ndarray], rng: np.random.Generator) -> list[dict[str, object]]:
    """Ours, and for comparison a sampled Gaussian, both against Pillow's."""
    run = jax.jit(functools.partial(blur.blur, max_sigma=2.0))
    ours, sampled, theirs = [], [], []
    for pixels in images:
        sigma = rng.uniform(0.1, 2.0)
        laid = jnp.asarray(pixels, jnp.float32).transpose(1, 2, 0)[None, None]
        ours.append(np.asarray(run(laid, jnp.full((1, 1), sigma, jnp.float32)))[0, 0])
        sampled.append(sampled_gaussian(pixels, sigma))
        theirs.append(np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(sigma))))
    return [error_row("blur", ours, theirs), error_row("(sampled Gaussian)", sampled, theirs)]


def sampled_gaussian(pixels: np.ndarray, sigma: float) -> np.ndarray:
    kernel = np.exp(-0.5 * (np.arange(-8, 9) / sigma) ** 2)
    result = pixels.astype(np.float64)
    for axis in (0, 1):
        padded = np.pad(result, [(8, 8) if a == axis else (0, 0) for a in range(3)], mode="edge")
        parts = (np.take(padded, np.arange(result.shape[axis]) + tap, axis=axis) for tap in range(17))
        result = sum(weight * part for weight, part in zip(kernel / kernel.sum(), parts, strict=True))
    return np.floor(result + 0.5)


def view_errors(
    images: list[np.ndarray],
    canvas: tuple[int, int],
    policy: augment.CropPolicy,
    name: str,
    *,
    width_first: bool = True,
) -> list[dict[str, object]]:
    """Whole views with the parameters that `multi_crop` would draw."""
    batch, sizes = on_canvas(images, canvas)
    grey_levels = dataclasses.replace(policy, mean=(0.0,) * 3, std=(1 / 255,) * 3)
    kinds = zip(
        ("global", "local"),
        jax.jit(functools.partial(augment.draw, policy=policy))(jax.random.key(1), sizes),
        augment.multi_crop(jax.random.key(1), batch, sizes, policy=grey_levels),
        (policy.global_size, policy.local_size),
        strict=True,
    )
    rows = []
    for kind, draws, views, size in kinds:
        ours, theirs = [], []
        for row, pixels in enumerate(images):
            for view, parameters in enumerate(split_draws(draws, row)):
                ours.append(np.asarray(views[row, view]))
                image = Image.fromarray(pixels)
                theirs.append(pillow_view(image, parameters, size, width_first=width_first))
        if ours:
            rows.append(error_row(f"{name}, {kind}", ours, theirs))
    return rows


def eval_errors(
    images: list[np.ndarray], canvas: tuple[int, int], size: tuple[int, int]
) -> list[dict[str, object]]:
    batch, sizes = on_canvas(images, canvas)
    rows = []
    for method in ("bilinear", "bicubic"):
        ours = preprocess.prepare_eval(
            batch, sizes, size=size, mean=(0.0,) * 3, std=(1 / 255,) * 3, method=method
        )
        how = Image.Resampling[method.upper()]
        theirs = [np.asarray(Image.fromarray(pixels).resize(size[::-1], how)) for pixels in images]
        rows.append(error_row(f"evaluation, {method}", list(np.asarray(ours)), theirs))
    return rows


# --- rates ---


def device_rate(
    batch: jax.Array, sizes: jax.Array, policy: augment.CropPolicy, repeats: int
) -> dict[str, float]:
    key = jax.random.key(0)
    start = time.perf_counter()
    run = augment.multi_crop.lower(key, batch, sizes, policy=policy).compile()
    compile_seconds = time.perf_counter() - start
    jax.block_until_ready(run(key, batch, sizes))
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(run(key, batch, sizes))
        seconds.append(time.perf_counter() - start)
    return {
        "compile_seconds": compile_seconds,
        "best": batch.shape[0] / min(seconds),
        "median": batch.shape[0] / statistics.median(seconds),
    }


def pillow_rate(tasks: list, cores: int, repeats: int) -> dict[str, float]:
    seconds = []
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        pool.map(pillow_views, tasks[:cores], chunksize=1)
        for _ in range(repeats):
            start = time.perf_counter()
            pool.map(pillow_views, tasks, chunksize=max(1, len(tasks) // (4 * cores)))
            seconds.append(time.perf_counter() - start)
    return {"best": len(tasks) / min(seconds), "median": len(tasks) / statistics.median(seconds)}


def measure(options: argparse.Namespace) -> dict[str, object]:
    canvas = (options.height, options.width)
    policy = augment.CropPolicy(
        global_size=canvas, local_size=(canvas[0] // 2, canvas[1] // 2), local_count=options.locals
    )
    images = [make_image(index, canvas) for index in range(options.images)]
    rng = np.random.default_rng(0)
    off = (0.0, 0.0, 0.0)
    plain = dataclasses.replace(policy, jitter=0.0, grey=0.0, blur_probability=off, solarise_probability=off)
    errors = view_errors(images, canvas, plain, "crop, resize")
    errors += view_errors(images, canvas, plain, "same, Pillow's order", width_first=False)
    errors += eval_errors(images, canvas, canvas)
    errors += operation_errors([make_image(2 * index, canvas) for index in range(options.images)], rng)
    errors += view_errors(images, canvas, policy, "whole view")

    full = [make_image(2 * index, canvas) for index in range(options.batch)]
    batch, sizes = on_canvas(full, canvas)
    kinds = jax.jit(functools.partial(augment.draw, policy=policy))(jax.random.key(0), sizes)
    tasks = [
        (
            pixels,
            [
                (view, size)
                for draws, size in zip(kinds, (policy.global_size, policy.local_size), strict=True)
                for view in split_draws(draws, row)
            ],
        )
        for row, pixels in enumerate(full)
    ]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "device": str(jax.devices()[0].device_kind),
        "cores": cores,
        "canvas": canvas,
        "views": [2, policy.local_count],
        "batch": options.batch,
        "errors": errors,
        "device_images_per_second": device_rate(batch, sizes, policy, options.repeats),
        "pillow_images_per_second": pillow_rate(tasks, cores, options.repeats),
    }


def show(result: dict) -> None:
    print(f"{'operation':<28}{'mean':>9}{'99.9 %':>9}{'max':>9}   grey levels, device against Pillow")
    for row in result["errors"]:
        print(f"{row['operation']:<28}{row['mean']:>9.4f}{row['p99.9']:>9.2f}{row['max']:>9.2f}")
    device, pillow = result["device_images_per_second"], result["pillow_images_per_second"]
    print(f"\n{'images/s':<28}{'best':>9}{'median':>9}")
    print(f"{result['device'][:27]:<28}{device['best']:>9.1f}{device['median']:>9.1f}")
    name = f"Pillow, {result['cores']} processes"
    print(f"{name:<28}{pillow['best']:>9.1f}{pillow['median']:>9.1f}")
    print(f"\ncompile time {device['compile_seconds']:.1f} s, batch {result['batch']}")
    if "share_of_step" in result:
        print(f"share of the given train step: {100 * result['share_of_step']:.2f} %")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--locals", type=int, default=8, help="local views per image")
    parser.add_argument("--images", type=int, default=12, help="images whose errors are taken")
    parser.add_argument("--batch", type=int, default=32, help="images whose rate is taken")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--step-rate", type=float, help="images/s of a train step, to state the share of it")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    result = measure(options)
    if options.step_rate:
        result["share_of_step"] = options.step_rate / result["device_images_per_second"]["median"]
    show(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
