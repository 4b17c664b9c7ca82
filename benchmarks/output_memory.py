"""Peak memory of what a finished run compares its backbone with, for a gallery of a given size.

Draws noise pictures of 256x128, as many as asked for, and measures raw pixels and colour histograms on them as the end
of a run does. The peak is that of the whole process, before and after.

    python -m benchmarks.output_memory [--gallery 20000]

The script runs on older commits too, where the baselines were computed from all images at once.
"""

import argparse
import inspect
import io
import resource
import tempfile
import time
import types
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from cion_jax.core import mesh as meshes
from cion_jax.tasks.retrieval import Retrieval
from cion_jax.tasks.sources import EvaluationData
from configs import base

SIZE = (256, 128)
PICTURES = 64  # different ones; they come again and again
PEOPLE = 750  # each seen once by every camera


class NoiseRecords:
    """Records of noise pictures, as `Retrieval` reads them."""

    def __init__(self, count: int, first_camera: int):
        rng = np.random.default_rng(0)
        self._records = [types.SimpleNamespace(image=_jpeg(rng), path=f"{k}.jpg") for k in range(PICTURES)]
        self.fingerprint, numbers = f"noise-{count}", np.arange(count)
        self.columns = {"identity": numbers % PEOPLE, "camera": first_camera + numbers // PEOPLE}
        self.columns |= {"height": np.full(count, SIZE[0]), "width": np.full(count, SIZE[1])}

    def __len__(self) -> int:
        return len(self.columns["identity"])

    def __getitems__(self, indices: list[int]) -> list:
        return [self._records[index % PICTURES] for index in indices]


class NoPreemption:
    """Nobody wants the machine back."""

    def reached(self) -> bool:
        """Whether to stop: no."""
        return False


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` stands in for the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gallery", type=int, default=20_000)
    gallery = parser.parse_args(arguments).gallery
    data = EvaluationData(NoiseRecords(min(PEOPLE, gallery), 0), NoiseRecords(gallery, 1), "noise")
    config = base.get_config()
    mesh = meshes.make_mesh(1, jax.devices()[:1])
    retrieval = Retrieval(
        data, config, mesh, lambda variables, images: images.mean(axis=(1, 2)), NoPreemption()
    )
    before, start = _peak(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        takes_folder = bool(list(inspect.signature(retrieval.baseline_figures).parameters))
        retrieval.baseline_figures(*([Path(folder)] if takes_folder else []))
    seconds = time.perf_counter() - start
    print(
        f"baselines on {gallery:,} gallery images of {SIZE[0]}x{SIZE[1]}: peak {_peak():.2f} GiB "
        f"({before:.2f} GiB before), {seconds:.0f} s"
    )


def _jpeg(rng: np.random.Generator) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (*SIZE, 3), np.uint8)).save(file, "JPEG")
    return file.getvalue()


def _peak() -> float:
    """Peak resident memory of this process in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
