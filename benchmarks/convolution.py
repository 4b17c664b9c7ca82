"""Kernel gradients of dense convolutions on a CPU: XLA's own against the forms of `cion_jax.zoo.convolution`.

`python -m benchmarks.convolution [--models vit_tiny resnet50_ibn ...] [--cores 1] [--json FILE]`. The shapes are those
that the models convolve, global and local views of one batch; 1x1, depthwise and very small maps have other forms
and are left out. The forms take turns. Shown are medians in milliseconds, by the clock and in CPU time of the process
(which a load from elsewhere moves less), and the form that the zoo takes: "blocks", "product" or "XLA".
"""

import argparse
import functools
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import report
from cion_jax import zoo
from cion_jax.zoo import convolution, layers


class Shape(NamedTuple):
    """One convolution: x [batch, height, width, channels], kernel [size, size, channels, outputs]."""

    batch: int
    height: int
    width: int
    channels: int
    outputs: int
    size: int
    stride: int
    padding: int

    def input(self) -> tuple[int, ...]:
        return self[:4]

    def kernel(self) -> tuple[int, ...]:
        return (self.size, self.size, self.channels, self.outputs)


def shapes_of(name: str, batch: int, size: tuple[int, int]) -> list[Shape]:
    """Dense convolutions of one model for images of `size`, without repeats, in order."""
    found: dict[Shape, None] = {}
    convolve = convolution.convolve_dense

    def record(x, kernel, stride, padding):
        found[Shape(*x.shape, kernel.shape[-1], kernel.shape[0], stride, padding)] = None
        return convolve(x, kernel, stride, padding)

    model = zoo.create(name)
    with mock.patch.object(layers, "convolve_dense", record):
        jax.eval_shape(
            lambda key, x: model.init(key, x, train=False), jax.random.key(0), jnp.zeros((batch, *size, 3))
        )
    return [
        shape for shape in found if chosen(shape) == "product" or positions(shape) >= convolution.SMALL_MAP
    ]


def positions(shape: Shape) -> int:
    """Output positions of one image."""
    height, width = convolution.output_size(shape.input(), shape.size, shape.stride, shape.padding)
    return height * width


def chosen(shape: Shape) -> str:
    """The form that `convolve_dense` takes."""
    if shape.stride == shape.size and shape.padding == 0:
        return "product"
    large = convolution.has_slow_kernel_gradient(shape.input(), shape.size, shape.stride, shape.padding)
    return "blocks" if large else "XLA"


def kernel_gradients(shape: Shape) -> dict[str, Callable]:
    """Functions (x, upstream) -> kernel gradient; "ours" is the form for this shape whether chosen or not."""

    def by(convolve: Callable, x: jax.Array, upstream: jax.Array) -> jax.Array:
        # Convolution is linear in the kernel, so nothing is computed forward.
        kernel = jax.ShapeDtypeStruct(shape.kernel(), x.dtype)
        return jax.linear_transpose(lambda kernel: convolve(x, kernel), kernel)(upstream)[0]

    def by_xla(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return convolution.convolve_by_xla(x, kernel, shape.stride, shape.padding)

    if chosen(shape) == "product":
        ours = functools.partial(by, convolution.convolve_apart)
    else:
        ours = functools.partial(
            convolution.kernel_gradient, size=shape.size, stride=shape.stride, padding=shape.padding
        )
    return {"XLA": functools.partial(by, by_xla), "ours": ours}


def measure_shape(shape: Shape, rounds: int) -> dict[str, Any]:
    """Median times of both forms, ms, and how far they differ relative to the largest entry."""
    draw = np.random.default_rng(0).standard_normal
    height, width = convolution.output_size(shape.input(), shape.size, shape.stride, shape.padding)
    x = jnp.asarray(draw(shape.input(), np.float32))
    upstream = jnp.asarray(draw((shape.batch, height, width, shape.outputs), np.float32))
    forms = {
        name: jax.jit(form).lower(x, upstream).compile() for name, form in kernel_gradients(shape).items()
    }
    results = {name: np.asarray(form(x, upstream)) for name, form in forms.items()}
    times: dict[str, list] = {name: [] for name in forms}
    for _ in range(rounds):
        for name, form in forms.items():
            wall, processor = time.perf_counter(), time.process_time()
            jax.block_until_ready(form(x, upstream))
            times[name].append((time.perf_counter() - wall, time.process_time() - processor))
    row: dict[str, Any] = {}
    for index, clock in enumerate(("ms", "CPU ms")):
        for name, pairs in times.items():
            row[f"{name} {clock}"] = 1e3 * statistics.median(pair[index] for pair in pairs)
        row[f"XLA/ours {clock}"] = row[f"XLA {clock}"] / row[f"ours {clock}"]
    difference = np.max(np.abs(results["ours"] - results["XLA"])) / np.max(np.abs(results["XLA"]))
    return row | {"difference": float(difference)}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    rows: dict[Shape, dict[str, Any]] = {}
    views = ((2, options.global_size), (options.locals, options.local_size))
    for name in options.models:
        for count, size in views:
            for shape in shapes_of(name, options.batch * count, tuple(size)):
                if shape in rows:
                    continue
                label = "x".join(map(str, shape.input())) + f" -> {shape.outputs}"
                rows[shape] = {
                    "x": label,
                    "kernel": f"{shape.size}x{shape.size}",
                    "stride": shape.stride,
                    "padding": shape.padding,
                    "positions": shape.batch * positions(shape),
                    **measure_shape(shape, options.rounds),
                    "chosen": chosen(shape),
                    "first in": name,
                }
                print(*(report.brief(value) for value in rows[shape].values()), sep="  ", flush=True)
    return {"machine": report.machine(), "rows": list(rows.values())}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--models", nargs="+", metavar="NAME")
    add("--batch", type=int, default=8, help="images")
    add("--global-size", type=int, nargs=2, default=(256, 128), metavar=("H", "W"))
    add("--local-size", type=int, nargs=2, default=(128, 64), metavar=("H", "W"))
    add("--locals", type=int, default=4, help="local views per image")
    add("--rounds", type=int, default=5, help="turns of each form")
    add("--cores", type=int, default=0, help="use this many processor cores; 0: all")
    add("--quick", action="store_true", help="tiny sizes: a test that it runs, not a measurement")
    add("--json", type=Path, help="file for the figures")
    options = parser.parse_args(arguments)
    options.models = options.models or [
        "vit_tiny",
        "resnet50_ibn",
        "repvit_m1_0",
        "swin_tiny",
        "convnext_tiny",
    ]
    if options.quick:
        options.batch, options.rounds, options.locals = 2, 1, 1
        options.global_size, options.local_size = (64, 32), (32, 16)
    report.limit_cores(options.cores)
    return options


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    options = parse(arguments)
    result = measure(options)
    report.show_table("Kernel gradients of dense convolutions, float32", result["rows"])
    report.write(result, options.json)
    return result


if __name__ == "__main__":
    main()
