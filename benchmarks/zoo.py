"""Forward and training passes of every backbone: images/s of ours against PyTorch, side by side in one run.

`python -m benchmarks.zoo [--models NAME ...] [--batch N] [--cores 1] [--json FILE]`. A training pass is the forward
pass in training mode and the gradients of all parameters. PyTorch's side is timm's model, or the one in
`benchmarks.torch_models` where there is one. The sides take turns; ratios are taken turn by turn, and their median
shown.
"""

import argparse
import gc
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import report
from cion_jax import zoo


def ours(name: str, images: np.ndarray, options: argparse.Namespace) -> tuple[dict[str, Callable], float]:
    """Our two passes, compiled, and the seconds that took."""
    module = zoo.create(name, dtype=jnp.bfloat16 if options.bfloat16 else jnp.float32)
    x = jnp.asarray(images)
    variables = jax.jit(module.init)(jax.random.key(0), x[:1])
    stats = {"batch_stats": variables.get("batch_stats", {})}

    def forward(params, x):
        return module.apply({"params": params, **stats}, x, train=False)

    def loss(params, x):
        features, _ = module.apply(
            {"params": params, **stats},
            x,
            train=True,
            mutable=["batch_stats"],
            rngs={"drop_path": jax.random.key(1)},
        )
        return jnp.sum(jnp.square(features.astype(jnp.float32)))

    start = time.perf_counter()
    passes = {
        what: jax.jit(function).lower(variables["params"], x).compile()
        for what, function in (("forward", forward), ("training", jax.grad(loss)))
    }
    seconds = time.perf_counter() - start
    runs = {}
    for what, compiled in passes.items():
        runs[what] = lambda compiled=compiled: len(
            jax.block_until_ready((x, compiled(variables["params"], x)))[0]
        )
    return runs, seconds


def theirs(name: str, images: np.ndarray, options: argparse.Namespace) -> dict[str, Callable] | None:
    """PyTorch's two passes; None where it has no such model."""
    import torch

    from benchmarks import timm_models, torch_models

    model = torch_models.create(name) or timm_models.create(name)
    if model is None:
        return None
    # Channels last is PyTorch's faster layout for convolutions; but training FastViT in it ends PyTorch 2.13 with a
    # segmentation fault on CPUs, without anything of ours in the process.
    convolutional = zoo.spec(name).family not in ("vit", "swin", "volo", "fastvit")
    layout = torch.channels_last if convolutional else torch.contiguous_format
    model = model.to(options.torch_device, memory_format=layout)
    x = torch.tensor(images.transpose(0, 3, 1, 2)).to(options.torch_device, memory_format=layout)
    autocast = torch.autocast(options.torch_device, torch.bfloat16, enabled=options.bfloat16)
    synchronise = torch.cuda.synchronize if options.torch_device == "cuda" else lambda: None

    def forward() -> int:
        model.eval()
        with torch.inference_mode(), autocast:
            model(x)
        synchronise()
        return len(x)

    def training() -> int:
        model.train()
        model.zero_grad(set_to_none=True)
        with autocast:
            loss = model(x).float().square().sum()
        loss.backward()
        synchronise()
        return len(x)

    return {"forward": forward, "training": training}


def measure_model(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Rates of one model, and the ratios of ours to PyTorch's."""
    images = np.random.default_rng(0).normal(size=(options.batch, *options.size, 3)).astype(np.float32)
    our_runs, seconds = ours(name, images, options)
    their_runs = theirs(name, images, options) if options.torch else None
    row: dict[str, Any] = {"model": name, "compile_seconds": seconds}
    for what in ("forward", "training"):
        sides = {"ours": our_runs[what]} | ({"torch": their_runs[what]} if their_runs else {})
        for run in sides.values():
            run()  # what first calls allocate and tune
        rates = {side: report.Rate() for side in sides}
        for _ in range(options.rounds):
            for side, run in sides.items():
                rates[side].add(run)
        clock = "core" if jax.default_backend() == "cpu" else "wall"
        row[what] = {side: rate.figures()[clock] for side, rate in rates.items()}
        if their_runs:
            pairs = zip(*(getattr(rates[side], clock) for side in ("ours", "torch")), strict=True)
            row[what]["ratio"] = report.spread([o / t for o, t in pairs])
    return row


def show(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    unit = "images per second of CPU time" if jax.default_backend() == "cpu" else "images/s"
    table = [
        {
            "model": row["model"],
            **{
                f"{what} {side}": row[what].get(side, {}).get("median")
                for what in ("forward", "training")
                for side in ("ours", "torch", "ratio")
            },
            "compile s": row["compile_seconds"],
        }
        for row in rows
    ]
    title = (
        f"{unit}: {options.size[0]}x{options.size[1]}, batch {options.batch}, {jax.devices()[0].device_kind}"
    )
    report.show_table(title, table)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--models", nargs="+", default=list(zoo.MODELS), metavar="NAME")
    add("--batch", type=int, default=0, help="images (4; on an accelerator 128)")
    add("--size", type=int, nargs=2, default=(256, 128), metavar=("H", "W"))
    add("--rounds", type=int, default=3, help="turns of each side")
    add("--cores", type=int, default=0, help="use this many processor cores; 0: all")
    add("--torch", action=argparse.BooleanOptionalAction, default=True, help="compare with PyTorch")
    add("--json", type=Path, help="file for the figures, written after every model")
    options = parser.parse_args(arguments)
    report.limit_cores(options.cores)
    on_cpu = jax.default_backend() == "cpu"
    options.bfloat16 = not on_cpu
    options.batch = options.batch or (4 if on_cpu else 128)
    options.torch = options.torch and importlib.util.find_spec("torch") is not None
    if options.torch:
        import torch

        torch.set_num_threads(report.cores())
        options.torch_device = "cpu" if on_cpu or not torch.cuda.is_available() else "cuda"
    return options


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    options = parse(arguments)
    result: dict[str, Any] = {
        "machine": report.machine(),
        "batch": options.batch,
        "size": list(options.size),
        "models": [],
    }
    for name in options.models:
        result["models"].append(measure_model(name, options))
        show(result["models"][-1:], options)
        report.write(result, options.json)
        jax.clear_caches()
        gc.collect()
    show(result["models"], options)
    return result


if __name__ == "__main__":
    main()
