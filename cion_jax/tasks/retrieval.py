"""Retrieval evaluation of a backbone on query and gallery records, and what it is compared with."""

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from cion_jax import zoo
from cion_jax.core import agreement
from cion_jax.core.files import write_json
from cion_jax.data import loader
from cion_jax.data.decode import decode_jpeg
from cion_jax.data.preprocess import prepare_eval
from cion_jax.data.records import RecordSet
from cion_jax.evaluation import baselines, features, rank
from cion_jax.tasks import settings
from cion_jax.tasks.sources import EvaluationData
from cion_jax.train.preemption import Preempted, PreemptionWatch

BASELINES_FILE = "baselines.json"
BASELINES = {"raw pixels": baselines.raw_pixels, "colour histogram": baselines.colour_histogram}


class Retrieval:
    """Evaluates weights of one backbone by Market-1501 rules.

    Args:
      data: query and gallery.
      config: for image size, batch size and the model's normalisation.
      mesh: devices to use.
      apply: (variables, images [n, height, width, 3]) -> features [n, width].
      preemption: polled between batches, so that a stop does not wait for a long evaluation.
    """

    def __init__(
        self,
        data: EvaluationData,
        config: ConfigDict,
        mesh: Mesh,
        apply: Callable[[Any, jax.Array], jax.Array],
        preemption: PreemptionWatch,
    ):
        self.data, self._mesh, self._preemption = data, mesh, preemption
        self.size = tuple(config.crops.global_size)
        self._batch = -(-config.eval.batch_size // mesh.size) * mesh.size
        self._threads = config.data.threads
        spec, dtype = zoo.spec(config.model.name), settings.compute_dtype(config)

        @jax.jit
        def of_canvas(variables, images, sizes):
            return apply(
                variables,
                prepare_eval(images, sizes, size=self.size, mean=spec.mean, std=spec.std, dtype=dtype),
            )

        self._of_canvas = of_canvas
        self._last: tuple[int, tuple[np.ndarray, np.ndarray]] | None = None

    def figures(self, variables: Any, step: int) -> dict[str, float]:
        """mAP, mINP and rank-k of the weights after `step` steps, as fractions; their features are kept."""
        self._last = None  # frees the features of the evaluation before
        self._last = step, self.features(variables)
        return self._rank(*self._last[1])

    def features_at(self, step: int, variables: Any) -> tuple[np.ndarray, np.ndarray]:
        """The features of the evaluation after `step` steps, computed only if that was not the last one here."""
        if self._last is None or self._last[0] != step:
            self._last = step, self.features(variables)
        return self._last[1]

    def features(self, variables: Any) -> tuple[np.ndarray, np.ndarray]:
        """Features of query and gallery, float32 [n, width]."""
        apply = functools.partial(self._of_canvas, variables)
        return tuple(
            features.extract(
                apply,
                self._batches(records),
                total=len(records),
                mesh=self._mesh,
                label=f"features of {name}",
            )
            for name, records in (("query", self.data.query), ("gallery", self.data.gallery))
        )

    def baseline_figures(self, workdir: Path) -> dict[str, dict[str, float]]:
        """The figures of features that nobody learned, by their name; kept in `workdir`, computed once. Collective.

        Every process computes the features of its own rows of each batch. Only features are kept, no images.
        """
        file, data = workdir / BASELINES_FILE, self._fingerprint()
        kept = agreement.from_first_process(_read_json(file) if jax.process_index() == 0 else None)
        if isinstance(kept, dict) and kept.get("data") == data:
            return kept["figures"]
        query, gallery = (
            self._baseline_features(name, records)
            for name, records in (("query", self.data.query), ("gallery", self.data.gallery))
        )
        figures, start = {}, 0
        for name, width in zip(BASELINES, self._widths, strict=True):
            columns = slice(start, start + width)
            figures[name] = self._rank(query[:, columns], gallery[:, columns])
            start += width
        if jax.process_index() == 0:
            write_json(file, {"data": data, "figures": figures})
        return figures

    def image(self, records: RecordSet, index: int) -> np.ndarray:
        """The picture of one record, uint8 [height, width, 3]."""
        return decode_jpeg(records[index].image)

    def _rank(self, query: np.ndarray, gallery: np.ndarray) -> dict[str, float]:
        q, g = self.data.query.columns, self.data.gallery.columns
        return rank(query, gallery, q["identity"], g["identity"], q["camera"], g["camera"])

    def _batches(self, records: RecordSet) -> Iterator[dict[str, np.ndarray]]:
        batches = loader.evaluation_batches(
            records,
            self._batch,
            loader.canvas_of(records),
            threads=self._threads,
            host=jax.process_index(),
            hosts=jax.process_count(),
        )
        for batch in batches:
            if self._preemption.reached():
                raise Preempted
            yield batch

    def _baseline_features(self, name: str, records: RecordSet) -> np.ndarray:
        """All baselines' features side by side, float32 [n, sum of their widths]."""

        @jax.jit
        def resize(images, sizes):
            shares = prepare_eval(images, sizes, size=self.size, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
            return jnp.clip(jnp.rint(255 * shares), 0, 255).astype(jnp.uint8)

        def parts() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for batch in self._batches(records):
                images = np.asarray(resize(batch["image"], batch["size"]))
                found = [of(images) for of in BASELINES.values()]
                self._widths = [values.shape[1] for values in found]
                yield np.concatenate(found, axis=1), batch["valid"]

        return features.collect_rows(
            parts(), total=len(records), processes=jax.process_count(), label=f"baselines of {name}"
        )

    def _fingerprint(self) -> list[Any]:
        return [self.data.query.fingerprint, self.data.gallery.fingerprint, list(self.size), list(BASELINES)]


def _read_json(file: Path) -> Any:
    """The value in a JSON file, None where there is no such file or it was damaged."""
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        return None
