"""What a finished run leaves: the backbone for users, a summary, and two pictures."""

import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from cion_jax import bridge, zoo
from cion_jax.core.commit import source_commit
from cion_jax.core.files import write_atomically, write_json
from cion_jax.evaluation import pictures
from cion_jax.tasks.retrieval import Retrieval
from cion_jax.train.logging import read_rows
from cion_jax.train.state import TrainState

BACKBONE_FILE = "backbone.safetensors"


class Speaker:
    """Prints lines for people, on the first process only."""

    def __call__(self, line: str) -> None:
        if jax.process_index() == 0:
            print(line, file=sys.stderr, flush=True)


def write(
    config: ConfigDict, workdir: Path, state: TrainState, retrieval: Retrieval | None, say: Speaker
) -> None:
    """Writes the outputs of a run that has reached its end; on the first process, though all must call it."""
    teacher = {
        "params": state.teacher.params["backbone"],
        "batch_stats": state.teacher.batch_stats["backbone"],
    }
    step = int(state.step)
    features, baselines = None, {}
    if retrieval is not None:
        # Collective: every process takes part, one of them draws.
        features = retrieval.features_at(step, teacher)
        baselines = retrieval.baseline_figures(workdir)
    teacher = _on_host(teacher)
    if jax.process_index():
        return
    write_backbone(config, workdir / BACKBONE_FILE, teacher, step)
    say(f"wrote {workdir / BACKBONE_FILE}: the teacher's backbone under the official key names")
    rows = read_rows(workdir)
    scores = {}
    if retrieval is not None:
        scores = _scores(config, rows) | baselines
        _draw_sheet(config, workdir, retrieval, features, scores)
    _draw_curves(config, workdir, rows, scores)
    text = summary(config, rows, scores, retrieval, int(state.skipped))
    write_atomically(workdir / "summary.md", text)
    write_json(workdir / "summary.json", {"scores": scores, "steps": step, "skipped": int(state.skipped)})
    say("\n" + text)


def write_backbone(config: ConfigDict, path: Path, variables: Any, step: int) -> None:
    """The checkpoint for users: official key names, with what is needed to use it."""
    spec = zoo.spec(config.model.name)
    about = {
        "model": config.model.name,
        "mean": spec.mean,
        "std": spec.std,
        "input_size": tuple(config.crops.global_size),
        "steps": step,
        "commit": source_commit(),
    }
    bridge.save_file(
        path,
        bridge.to_torch(config.model.name, variables),
        {key: str(list(value)) if isinstance(value, tuple) else str(value) for key, value in about.items()},
    )


def summary(
    config: ConfigDict,
    rows: list[dict[str, Any]],
    scores: dict[str, dict[str, float]],
    retrieval: Retrieval | None,
    skipped: int,
) -> str:
    """The run in a few lines of Markdown."""
    losses = [row["loss"] for row in rows if row.get("loss") is not None]
    lines = [f"# {config.model.name}: {rows[-1]['step'] if rows else 0:,} steps", ""]
    if losses:
        lines += [
            f"Loss {losses[0]:.3f} at first, {losses[-1]:.3f} at the end; {skipped} updates skipped.",
            "",
        ]
    if retrieval is not None:
        lines += [
            f"Retrieval on {retrieval.data.name} ({len(retrieval.data.query):,} queries, "
            f"{len(retrieval.data.gallery):,} in the gallery):",
            "",
            "| features | mAP | rank-1 | rank-5 |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {name} | {100 * s['mAP']:.1f} | {100 * s['rank1']:.1f} | {100 * s['rank5']:.1f} |"
            for name, s in scores.items()
        ]
    return "\n".join(lines) + "\n"


def _scores(config: ConfigDict, rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Figures of the last and of the first evaluation, under names that say which weights they are of."""
    evaluated = [row for row in rows if "mAP" in row]
    pick = lambda row: {key: row[key] for key in ("mAP", "mINP", "rank1", "rank5", "rank10")}  # noqa: E731
    name, first = config.model.name, evaluated[0]
    if first["step"]:
        start = f"{name}, after {first['step']:,} steps"
    elif config.model.weights:
        start = f"{name}, at the start ({Path(config.model.weights).name})"
    else:
        start = f"{name}, untrained"
    return {f"{name}, trained": pick(evaluated[-1]), start: pick(first)}


def _draw_sheet(config: ConfigDict, workdir: Path, retrieval: Retrieval, parts: Any, scores: dict) -> None:
    query, gallery = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in parts)
    q, g = retrieval.data.query, retrieval.data.gallery
    shown = np.linspace(0, len(q) - 1, min(len(q), 400)).astype(int)
    trained = next(iter(scores.values()))
    pictures.retrieval_sheet(
        lambda index: retrieval.image(q, int(shown[index])),
        lambda index: retrieval.image(g, index),
        1.0 - query[shown] @ gallery.T,
        q.columns["identity"][shown],
        g.columns["identity"],
        q.columns["camera"][shown],
        g.columns["camera"],
        workdir / "retrieval.png",
        title=f"{config.model.name}: mAP {100 * trained['mAP']:.1f} %, rank-1 {100 * trained['rank1']:.1f} %",
        subtitle=retrieval.data.name,
    )


def _draw_curves(config: ConfigDict, workdir: Path, rows: list[dict[str, Any]], scores: dict) -> None:
    references = {name: s["mAP"] for name, s in list(scores.items())[1:]}
    pictures.learning_curves(rows, workdir / "curves.png", references=references, title=config.model.name)


def _on_host(tree: Any) -> Any:
    """The arrays in host memory, also where parameters are spread over devices."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        return multihost_utils.process_allgather(tree, tiled=True)
    return jax.device_get(tree)
