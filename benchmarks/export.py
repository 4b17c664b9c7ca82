"""Every backbone as ONNX: size, time, deviation, and images/s in ONNX Runtime beside JAX's, in one run.

`python -m benchmarks.export [--models resnet18 vit_tiny ...] [--size 256 128] [--json FILE] [--markdown FILE]`. The two
runtimes take turns on the same batch, each on the cores that the process may use (--cores). Weights are random; time
does not depend on them. A model that cannot be exported gets a line with the reason. The files are written anew after
every model, so that a run cut short leaves what it has measured.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import report
from cion_jax import bridge, zoo
from cion_jax.bridge import onnx_graph
from cion_jax.core.errors import UserError


def measure(name: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One row of the table."""
    module, size = zoo.create(name), tuple(options.size)
    variables = random_variables(name)
    row = {"model": name, "half": options.half}
    try:
        done = bridge.export_onnx(
            name, variables, folder / f"{name}.onnx", input_size=size, half=options.half
        )
    except UserError as error:
        return row | {"failed": str(error).splitlines()[0]}
    import onnx

    images = np.random.default_rng(0).normal(size=(options.batch, 3, *size)).astype(np.float32)
    theirs, jitted = onnx_graph.runner(done.path), jax.jit(module.apply)
    variables, nhwc = jax.device_put(variables), jnp.asarray(images.transpose(0, 2, 3, 1))
    works = {
        "onnx": lambda: len(theirs(images)),
        "jax": lambda: len(jax.block_until_ready(jitted(variables, nhwc))),
    }
    for work in works.values():
        work()
    rates = report.take_turns(works, options.rounds)
    row |= {
        "operators": len(onnx.load(done.path).graph.node),
        "megabytes": done.size / 1e6,
        "seconds": done.seconds,
        "error": done.deviation.error,
        "cosine": done.deviation.cosine,
        "rates": rates,
    }
    done.path.unlink()
    return row


def random_variables(name: str) -> dict:
    """Weights that keep features of different pictures apart; norms and statistics are near their start."""
    module = zoo.create(name)
    images = jax.ShapeDtypeStruct((1, *zoo.spec(name).input_size, 3), jnp.float32)
    shapes = jax.eval_shape(module.init, jax.random.key(0), images)
    rng = np.random.default_rng(0)

    def draw(path: tuple, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        kind = path[-1].key
        normal = rng.standard_normal(leaf.shape, np.float32)
        if kind == "kernel":
            return normal * np.float32(np.sqrt(1.0 / np.prod(leaf.shape[:-1])))
        if kind in ("scale", "var", "temperature"):
            return np.float32(1) + np.float32(0.2) * np.abs(normal)
        return np.float32(0.1) * normal

    return {"params": {}, "batch_stats": {}, **jax.tree_util.tree_map_with_path(draw, shapes)}


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """The row of the printed table."""
    if "failed" in row:
        return {"model": row["model"], **dict.fromkeys(HEADS), "ratio": row["failed"]}
    rates = {name: rate["wall"]["median"] for name, rate in row["rates"].items()}
    return {
        "model": row["model"],
        "operators": row["operators"],
        "MB": row["megabytes"],
        "export s": row["seconds"],
        "error": f"{row['error']:.1e}",
        "ONNX Runtime images/s": rates["onnx"],
        "JAX images/s": rates["jax"],
        "ratio": rates["onnx"] / rates["jax"],
    }


HEADS = ("operators", "MB", "export s", "error", "ONNX Runtime images/s", "JAX images/s")


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The table for documents."""
    heads = ["model", *HEADS, "ratio"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    lines += [f"| {' | '.join(report.brief(row[head]) for head in heads)} |" for row in map(shown, rows)]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=by_size(), choices=zoo.MODELS, metavar="NAME")
    parser.add_argument("--size", nargs=2, type=int, default=(256, 128), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=0, help="keep to this many cores; 0: all")
    parser.add_argument("--half", action="store_true", help="float16 files")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args(arguments)
    report.limit_cores(options.cores)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models:
            rows.append(measure(name, options, Path(folder)))
            print(markdown(rows).splitlines()[-1], flush=True)
            settings = {"batch": options.batch, "size": list(options.size), "machine": report.machine()}
            report.write(settings | {"models": rows}, options.json)
            if options.markdown:
                options.markdown.write_text(markdown(rows))
    report.show_table(
        f"ONNX at {options.size[0]}x{options.size[1]}, batch {options.batch}", list(map(shown, rows))
    )


def by_size() -> list[str]:
    """All models: the smallest of every family first."""
    rank = {}
    for name in sorted(zoo.MODELS, key=lambda name: zoo.spec(name).parameters):
        family = zoo.spec(name).family
        rank[name] = sum(zoo.spec(other).family == family for other in rank)
    return sorted(rank, key=lambda name: (rank[name], zoo.spec(name).parameters))


if __name__ == "__main__":
    main()
