"""Images per second of pre-training: ours against PyTorch doing the same step, side by side in one run.

`python -m benchmarks.throughput [--models resnet18 vit_tiny ...] [--json FILE]`. Both sides start from the same
weights (ours, through `bridge`), see the same views and do the same work: student on all views, teacher on the global
ones, loss, backward pass, clipping, AdamW, moving average, centre. Before the clock runs, a line for each model
shows that they do: relative differences of the first loss, of its gradient's norm, and of the loss after three
updates. Then the sides take turns, so that whatever else loads the machine meets both.

Beside the step: the loader (records, decode) against a PyTorch DataLoader over files with Pillow, and the crops,
ours on the device against Pillow in a pool of processes. Rates in images/s, an image with all its views; ratios are
taken turn by turn, and their median shown.
"""

import argparse
import functools
import gc
import importlib.util
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Else JAX takes three quarters of a GPU's memory at once and PyTorch finds none.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import augment as augment_benchmark
from benchmarks import flops, loader, report
from cion_jax import bridge, zoo
from cion_jax.data import augment
from cion_jax.data.augment import CropPolicy, multi_crop
from cion_jax.methods.distill import Distill, Settings
from cion_jax.train.schedules import Schedules
from cion_jax.train.state import TrainState

LR, WEIGHT_DECAY, MOMENTUM = 1e-4, 0.04, 0.996  # constant: the step's cost does not depend on them
CHECKED_STEPS = 3
TURNS = ("step", "torch step", "crops", "step and crops")


class Ours:
    """Our step for one model, compiled ahead of time."""

    def __init__(self, name: str, options: argparse.Namespace):
        dtype = jnp.bfloat16 if options.bfloat16 else jnp.float32
        self.backbone = zoo.create(name, dtype=dtype)
        self.head = zoo.DINOHead(options.head, dtype=dtype)
        schedules = Schedules(1000, 0, LR, LR, (WEIGHT_DECAY,) * 2, (MOMENTUM,) * 2)
        method = Distill(self.backbone, self.head, schedules, Settings())
        self.policy, self.dtype, self._key = crop_policy(options), dtype, jax.random.key(1)
        self.state: TrainState = jax.jit(functools.partial(method.init, input_size=self.policy.global_size))(
            jax.random.key(0)
        )
        step = jax.jit(
            functools.partial(method.step, images_per_identity=options.images_per_identity), donate_argnums=0
        )
        views = jax.eval_shape(self.crop, *pixels(options))
        start = time.perf_counter()
        self._step = step.lower(self.state, views, self._key).compile()
        self.compile_seconds = time.perf_counter() - start

    def crop(self, images: jax.Array, sizes: jax.Array) -> dict[str, jax.Array]:
        crops = multi_crop(self._key, images, sizes, policy=self.policy, dtype=self.dtype)
        return {"global": crops[0], "local": crops[1]}

    def step(self, views: dict[str, jax.Array]) -> tuple[float, float]:
        self.state, metrics = self._step(self.state, views, self._key)
        return float(metrics["loss"]), float(metrics["grad_norm"])

    def torch_weights(self, name: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Backbone and head of the student as PyTorch state dicts."""
        student = self.state.student
        parts = (
            {"params": student.params[part], "batch_stats": student.batch_stats[part]}
            for part in ("backbone", "head")
        )
        backbone, head = jax.device_get(tuple(parts))
        return bridge.to_torch(name, backbone), bridge.head_to_torch(head)


def torch_side(name: str, ours: Ours, options: argparse.Namespace):
    """A `torch_reference.Trainer` with our weights; None without PyTorch or a PyTorch form of the model."""
    if not options.torch:
        return None
    from benchmarks import torch_models, torch_reference

    if torch_models.create(name) is None:
        return None
    return torch_reference.Trainer(
        name,
        *ours.torch_weights(name),
        width=zoo.spec(name).embed_dim,
        images_per_identity=options.images_per_identity,
        lr=LR,
        weight_decay=WEIGHT_DECAY,
        momentum=MOMENTUM,
        device=options.torch_device,
        autocast=options.bfloat16,
        compiled=options.torch_compile,
        layout=torch_layout(name, options),
    )


def torch_layout(name: str, options: argparse.Namespace) -> str:
    """PyTorch's faster layout: channels last, but for ViT on a CPU (tiny: 0.44 s against 0.38 contiguous)."""
    if options.torch_layout != "auto":
        return options.torch_layout
    on_cpu = options.torch_device == "cpu"
    return "contiguous" if on_cpu and zoo.spec(name).family == "vit" else "channels_last"


def crop_policy(options: argparse.Namespace) -> CropPolicy:
    return CropPolicy(
        global_size=tuple(options.global_size),
        local_size=tuple(options.local_size),
        local_count=options.locals,
    )


def pixels(options: argparse.Namespace) -> tuple[jax.Array, jax.Array]:
    """A decoded batch as the loader gives it."""
    canvas = tuple(options.global_size)
    images = [augment_benchmark.make_image(2 * index, canvas) for index in range(options.batch)]
    return augment_benchmark.on_canvas(images, canvas)


def measure_model(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Correctness and rates of one model."""
    images, sizes = pixels(options)
    ours = Ours(name, options)
    views = jax.block_until_ready(ours.crop(images, sizes))
    theirs = torch_side(name, ours, options)
    runs = {
        "step": lambda: ours.step(views),
        "crops": lambda: jax.block_until_ready(ours.crop(images, sizes)),
        "step and crops": lambda: ours.step(ours.crop(images, sizes)),
    }
    check = None
    if theirs is not None:
        host = jax.tree.map(lambda x: np.asarray(x, np.float32), views)
        placed = theirs.place(host["global"]), theirs.place(host["local"])
        runs["torch step"] = lambda: theirs.step(*placed)
        check = compare(name, runs["step"], runs["torch step"])
    for run in runs.values():
        run()  # whatever the first calls still allocate or tune
    rates = {what: report.Rate() for what in runs}
    for _ in range(options.rounds):
        for what in sorted(runs, key=TURNS.index):
            rates[what].add(lambda run=runs[what]: run() and options.batch)
    return summary(name, ours, rates, check, options)


def compare(name: str, ours: Callable, theirs: Callable) -> dict[str, float]:
    """Relative differences over the first updates; prints them."""
    pairs = [(ours(), theirs()) for _ in range(CHECKED_STEPS)]
    differences = [abs(np.divide(t, o) - 1) for o, t in pairs]
    check = {
        "loss": pairs[0][0][0],
        "loss_difference": float(differences[0][0]),
        "gradient_difference": float(differences[0][1]),
        "later_loss_difference": float(differences[-1][0]),
    }
    print(
        f"{name}: first loss {pairs[0][0][0]:.6f} ours, {pairs[0][1][0]:.6f} torch (differ by "
        f"{check['loss_difference']:.1e}), gradient norms by {check['gradient_difference']:.1e}; "
        f"loss {CHECKED_STEPS - 1} updates later {pairs[-1][0][0]:.6f} by {check['later_loss_difference']:.1e}",
        flush=True,
    )
    return check


def summary(
    name: str, ours: Ours, rates: dict[str, report.Rate], check: dict | None, options: argparse.Namespace
) -> dict[str, Any]:
    work = flops.step_per_image(
        ours.backbone,
        ours.head,
        zoo.spec(name).embed_dim,
        ours.policy.global_size,
        ours.policy.local_size,
        ours.policy.local_count,
    )
    figures: dict[str, Any] = {what: rate.figures() for what, rate in rates.items()}
    step = figures["step"]["wall"]["median"]
    result = {
        "model": name,
        "rates": figures,
        "check": check,
        "gflop_per_image": work / 1e9,
        "tflop_per_second": work * step / 1e12,
        "share_of_peak": work * step / options.peak if options.peak else None,
        "compile_seconds": ours.compile_seconds,
    }
    if "torch step" in figures:
        # Turn by turn, so that a load that comes and goes meets both sides of a ratio.
        for clock in ("wall", "core") if jax.default_backend() == "cpu" else ("wall",):
            pairs = zip(getattr(rates["step"], clock), getattr(rates["torch step"], clock), strict=True)
            result[f"ratio_{clock}"] = report.spread([o / t for o, t in pairs])
    return result


def measure_inputs(options: argparse.Namespace) -> dict[str, Any]:
    """Images/s of loader and crops of both sides, for themselves."""
    policy = crop_policy(options)
    with loader.made_records(policy.global_size, options.loader_images) as made:
        rates = report.take_turns(loader.loader_works(made, options.loader_batch), options.rounds)
        result = {f"our {name}": figures["wall"] for name, figures in rates.items()}
        if options.torch:
            from benchmarks import torch_loader

            result[f"torch DataLoader with Pillow, {report.cores()} workers"] = (
                torch_loader.images_per_second(
                    made.files, options.loader_batch, report.cores(), options.loader_seconds
                )
            )
    if options.pillow_crops:
        tasks = pillow_tasks(policy, options)
        pillow = augment_benchmark.pillow_rate(tasks, report.cores(), options.rounds)
        result[f"crops with Pillow, {report.cores()} processes"] = pillow["median"]
    return result


def pillow_tasks(policy: CropPolicy, options: argparse.Namespace) -> list:
    """The same crops as jobs for `augment.pillow_rate`."""
    images, sizes = pixels(options)
    kinds = jax.jit(functools.partial(augment.draw, policy=policy))(jax.random.key(0), sizes)
    return [
        (
            np.asarray(image),
            [
                (view, size)
                for draws, size in zip(kinds, (policy.global_size, policy.local_size), strict=True)
                for view in augment_benchmark.split_draws(draws, row)
            ],
        )
        for row, image in enumerate(np.asarray(images))
    ]


def show(result: dict[str, Any]) -> None:
    o = result["options"]
    side = f"2 x {o['global_size']} + {o['locals']} x {o['local_size']}, batch {o['batch']}, K {o['head']:,}"
    rows = [
        {
            "model": row["model"],
            "step ours": row["rates"]["step"]["wall"],
            "step torch": row["rates"].get("torch step", {}).get("wall"),
            "ours/torch": row.get("ratio_wall"),
            "by CPU time": row.get("ratio_core"),
            "crops": row["rates"]["crops"]["wall"]["median"],
            "step+crops ours": row["rates"]["step and crops"]["wall"],
            "GFLOP/image": row["gflop_per_image"],
            "TFLOP/s": row["tflop_per_second"],
            "% of peak": row["share_of_peak"] and 100 * row["share_of_peak"],
            "compile s": row["compile_seconds"],
        }
        for row in result["models"]
    ]
    report.show_table(f"Train step, images/s: {side}, {result['dtype']}, {result['device']}", rows)
    inputs = [{"input": what, "images/s": value} for what, value in result.get("inputs", {}).items()]
    report.show_table(f"Input at {o['global_size']}, with all views where it crops", inputs)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--models", nargs="+", default=["vit_tiny", "resnet18"], metavar="NAME")
    add("--batch", type=int, help="images (8; on an accelerator 96)")
    add("--images-per-identity", type=int, default=2)
    add("--global-size", type=int, nargs=2, default=(256, 128), metavar=("H", "W"))
    add("--local-size", type=int, nargs=2, default=(128, 64), metavar=("H", "W"))
    add("--locals", type=int, default=8, help="local views per image")
    add("--head", type=int, metavar="K", help="outputs of the head (4096; on an accelerator 65536)")
    add("--rounds", type=int, default=5, help="turns of each side")
    add("--cores", type=int, default=0, help="use this many processor cores; 0: all")
    add("--dtype", choices=("float32", "bfloat16"), help="float32; on an accelerator bfloat16")
    add("--torch", action=argparse.BooleanOptionalAction, default=True, help="compare with PyTorch")
    add("--torch-compile", action="store_true", help="pass PyTorch's backbones through torch.compile")
    add("--torch-layout", choices=("auto", "channels_last", "contiguous"), default="auto")
    add("--peak", type=float, help="FLOP/s of the device (790e12 on a GPU: H100 and H200 in bfloat16)")
    add("--inputs", action=argparse.BooleanOptionalAction, default=True, help="measure loader and Pillow too")
    add("--pillow-crops", action=argparse.BooleanOptionalAction, default=True)
    add("--loader-images", type=int, default=2048)
    add("--loader-batch", type=int, default=128)
    add("--loader-seconds", type=float, default=5.0, help="time for PyTorch's loader")
    add("--quick", action="store_true", help="tiny sizes: a test that it runs, not a measurement")
    add("--json", type=Path, help="file for the figures")
    options = parser.parse_args(arguments)
    if options.quick:
        options.batch, options.head, options.rounds, options.locals = 4, 64, 1, 1
        options.global_size, options.local_size = (64, 32), (32, 16)
        options.loader_images, options.loader_batch, options.loader_seconds = 32, 16, 0.2
        options.pillow_crops = False
    report.limit_cores(options.cores)
    fill_in(options)
    return options


def fill_in(options: argparse.Namespace) -> None:
    """Defaults that depend on the device, and what there is of PyTorch."""
    on_cpu = jax.default_backend() == "cpu"
    options.batch = options.batch or (8 if on_cpu else 96)
    options.head = options.head or (4096 if on_cpu else 65536)
    options.bfloat16 = (options.dtype or ("float32" if on_cpu else "bfloat16")) == "bfloat16"
    options.peak = options.peak or (790e12 if jax.default_backend() == "gpu" else None)
    options.torch = options.torch and importlib.util.find_spec("torch") is not None
    if not options.torch:
        print("PyTorch is not installed, or --no-torch was given: our side only.")
        return
    import torch

    torch.set_num_threads(report.cores())
    options.torch_device = "cuda" if torch.cuda.is_available() and not on_cpu else "cpu"
    if not on_cpu and options.torch_device == "cpu":
        print("This PyTorch sees no GPU: our side only.")
        options.torch = False


def measure(options: argparse.Namespace) -> dict[str, Any]:
    shown = ("batch", "images_per_identity", "locals", "head", "rounds", "torch_compile", "torch_layout")
    result: dict[str, Any] = {
        "machine": report.machine(),
        "device": str(jax.devices()[0].device_kind),
        "dtype": "bfloat16" if options.bfloat16 else "float32",
        "torch": options.torch,
        "options": {key: getattr(options, key) for key in shown}
        | {key: "x".join(map(str, getattr(options, key))) for key in ("global_size", "local_size")},
        "models": [],
    }
    for name in options.models:
        result["models"].append(measure_model(name, options))
        gc.collect()
    if options.inputs:
        result["inputs"] = measure_inputs(options)
    return result


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    options = parse(arguments)
    result = measure(options)
    show(result)
    report.write(result, options.json)
    return result


if __name__ == "__main__":
    main()
