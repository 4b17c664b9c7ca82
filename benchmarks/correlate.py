"""How denoising scales: levels 1 and 2 over millions of images, level 3 over a million centroids, and `recommended`.

    python -m benchmarks.correlate [--images 4000000] [--centroids 1000000] [--sizes 10000 100000] [--folder DIR]
        [--json FILE]

Features (float16, memory-mapped) are invented tracklets of `synthetic_tracklets`. Each case runs in a process of its
own, for its peak memory. Beside the band of level 3, on the same vectors in the same run: NumPy in blocks, which is
what one writes first, and FAISS's range search (faiss-cpu, if installed), which looks at all pairs; and our own all
pairs.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report

WIDTH, HALF_WIDTH, SIGMA = 256, 1000, 0.18
# Above these numbers of vectors all pairs are left out, of ours and of the others'.
MOST_PAIRS = 100_000
# Of `recommended` on these tracklets, as `calibrate` finds them; images above this number are left out.
THRESHOLDS, MOST_RECOMMENDED = {"sigma_cst": 0.2, "sigma_drm": 0.19}, 1_000_000


def make_tracklets(images: int, folder: Path) -> Path:
    """A folder with features.npy and ids.npz of about so many images; made once."""
    from cion_jax.core.progress import Progress
    from cion_jax.data.synthetic_tracklets import World, generate

    target = folder / f"tracklets_{images}"
    if (target / "ids.npz").is_file():
        return target
    target.mkdir(parents=True, exist_ok=True)
    # 2.5 appearances of about 24 images a person, in tracklets of about 16.
    world = World(people=max(images // 61, 12), width=WIDTH)
    with Progress("tracklets", None) as progress:
        made = generate(world, "medium", path=target / "features.npy", progress=progress.advance)
    np.savez(target / "ids.npz", tracklets=made.tracklets, videos=made.videos, frames=made.frames)
    return target


def make_centroids(count: int, folder: Path) -> Path:
    """A float32 file of `count` centroids; people come back some hundreds of places further on, or anywhere."""
    target = folder / f"centroids_{count}.npy"
    if target.is_file():
        return target
    rng = np.random.default_rng(0)
    people = rng.standard_normal((count // 4 + 1, WIDTH), np.float32)
    made = np.lib.format.open_memmap(target, "w+", np.float32, (count, WIDTH))
    for start in range(0, count, 50_000):
        rows = np.arange(start, min(start + 50_000, count))
        who = np.clip(rows // 4 + rng.integers(-100, 100, len(rows)), 0, count // 4)
        # At 1 - cos of about 0.1 to their person, two of one person are about 0.19 apart: some links, some not.
        made[rows] = people[who] + 0.33 * rng.standard_normal((len(rows), WIDTH), np.float32)
    made.flush()
    return target


def levels_1_2(folder: Path) -> dict[str, Any]:
    """Wall time of the first two levels over a folder of tracklets."""
    from cion_jax import denoise

    features = np.load(folder / "features.npy", mmap_mode="r")
    ids = np.load(folder / "ids.npz")
    tracklets, videos = ids["tracklets"], ids["videos"]
    start = time.perf_counter()
    labels = denoise.denoise_videos(features, tracklets, videos)
    return {
        "n": len(features),
        "tracklets": int(tracklets.max()) + 1,
        "identities": int(labels.max()) + 1,
        "seconds": time.perf_counter() - start,
    }


def recommended(folder: Path) -> dict[str, Any]:
    """Wall time of all levels with the options of `recommended`, in a sliding range."""
    from cion_jax import denoise

    features = np.load(folder / "features.npy", mmap_mode="r")
    ids = np.load(folder / "ids.npz")
    settings = denoise.recommended(**THRESHOLDS, half_width=HALF_WIDTH)
    start = time.perf_counter()
    found = denoise.run(features, ids["tracklets"], ids["videos"], ids["frames"], settings=settings)
    return {
        "n": len(features),
        "tracklets": int(ids["tracklets"].max()) + 1,
        "identities": int(found.labels.max()) + 1,
        "seconds": time.perf_counter() - start,
    }


def level_3(file: Path, method: str) -> dict[str, Any]:
    """Wall time of linking and closure by one method."""
    vectors = np.load(file, mmap_mode="r")
    start = time.perf_counter()
    identities = METHODS[method](vectors)
    return {
        "n": len(vectors),
        "identities": int(identities.max()) + 1,
        "seconds": time.perf_counter() - start,
    }


def _ours(half_width: int | None) -> Callable[[np.ndarray], np.ndarray]:
    def link(vectors: np.ndarray) -> np.ndarray:
        from cion_jax import denoise

        ones = np.ones(len(vectors), np.int64)
        return denoise.link_tracklets(vectors, ones, half_width=half_width, sigma_drm=SIGMA)

    return link


def _numpy_band(vectors: np.ndarray) -> np.ndarray:
    """The band by NumPy, 256 rows at a time, and SciPy's components."""
    unit = np.asarray(vectors) / np.linalg.norm(vectors, axis=1, keepdims=True)
    links = []
    for start in range(0, len(unit), 256):
        rows = unit[start : start + 256]
        columns = unit[start : start + 256 + HALF_WIDTH]
        i, j = np.nonzero(1 - rows @ columns.T <= SIGMA)
        good = (j > i) & (j - i <= HALF_WIDTH)
        links.append(np.stack([i[good], j[good]]) + start)
    return _components(np.concatenate(links, axis=1), len(unit))


def _numpy_all(vectors: np.ndarray) -> np.ndarray:
    """All pairs by NumPy, 1,024 rows at a time."""
    unit = np.asarray(vectors) / np.linalg.norm(vectors, axis=1, keepdims=True)
    links = []
    for start in range(0, len(unit), 1024):
        i, j = np.nonzero(1 - unit[start : start + 1024] @ unit[start:].T <= SIGMA)
        links.append(np.stack([i[j > i], j[j > i]]) + start)
    return _components(np.concatenate(links, axis=1), len(unit))


def _faiss_all(vectors: np.ndarray) -> np.ndarray:
    """All pairs by FAISS's exact range search."""
    import faiss

    unit = np.ascontiguousarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)
    index = faiss.IndexFlatIP(unit.shape[1])
    index.add(unit)
    limits, _, found = index.range_search(unit, 1 - SIGMA)
    first = np.repeat(np.arange(len(unit)), np.diff(limits.astype(np.int64)))
    return _components(np.stack([first, found]), len(unit))


def _components(links: np.ndarray, count: int) -> np.ndarray:
    from scipy import sparse
    from scipy.sparse import csgraph

    graph = sparse.coo_matrix((np.ones(links.shape[1], bool), tuple(links)), (count, count))
    return csgraph.connected_components(graph, directed=False)[1]


METHODS = {
    "ours, band": _ours(HALF_WIDTH),
    "NumPy, band": _numpy_band,
    "ours, all pairs": _ours(None),
    "NumPy, all pairs": _numpy_all,
    "FAISS, all pairs": _faiss_all,
}


def in_own_process(case: list[str], cores: int) -> dict[str, Any]:
    """A case's figures with its peak memory, or why it failed."""
    command = [sys.executable, "-m", "benchmarks.correlate", "--cores", str(cores), "--case", *case]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1:] or [f"exit {done.returncode}"]}
    return json.loads(done.stdout.splitlines()[-1])


def run_case(case: list[str]) -> None:
    """What `in_own_process` calls."""
    run = {"levels": levels_1_2, "recommended": recommended, "link": level_3}[case[0]]
    figures = run(Path(case[1]), *case[2:])
    print(json.dumps(figures | {"peak_gb": report.peak_megabytes() / 1024}))


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    report.limit_cores(options.cores)
    if options.case:
        run_case(options.case)
        return
    rows: list[dict[str, Any]] = []

    def measure(what: str, case: list[str]) -> None:
        rows.append({"what": what, **in_own_process(case, options.cores)})
        print(json.dumps(rows[-1]), flush=True)
        if options.json:
            options.json.write_text(json.dumps({"machine": report.machine(), "rows": rows}, indent=1))

    with tempfile.TemporaryDirectory() as made:
        folder = options.folder or Path(made)
        for images in dict.fromkeys([*(n for n in options.sizes if n < options.images), options.images]):
            made_here = str(make_tracklets(images, folder))
            measure("levels 1 and 2", ["levels", made_here])
            if images <= MOST_RECOMMENDED:
                measure("recommended, all levels", ["recommended", made_here])
        for count in dict.fromkeys([*options.sizes, options.centroids]):
            file = str(make_centroids(count, folder))
            for method in METHODS:
                if "all pairs" in method and count > MOST_PAIRS:
                    continue
                if "FAISS" in method and importlib.util.find_spec("faiss") is None:
                    continue
                measure(f"level 3: {method}", ["link", file, method])
    keys = ("what", "n", "tracklets", "identities", "seconds", "peak_gb")
    report.show_table(
        f"{WIDTH} numbers a feature, half width {HALF_WIDTH}", [{k: row.get(k) for k in keys} for row in rows]
    )


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--images", type=int, default=4_000_000, help="of levels 1 and 2")
    add("--centroids", type=int, default=1_000_000, help="of level 3")
    add("--sizes", type=int, nargs="*", default=[10_000, 100_000, 1_000_000], help="smaller ones, for growth")
    add("--folder", type=Path, help="where data are made and found again; a temporary folder by default")
    add("--cores", type=int, default=0, help="use this many processor cores; 0: all")
    add("--json", type=Path)
    add("--case", nargs="+", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
