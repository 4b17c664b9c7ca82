"""Retrieval evaluation of a backbone on query and gallery records, and what it is compared with."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from cion_jax import zoo
from cion_jax.data import loader
from cion_jax.data.decode import decode_jpeg
from cion_jax.data.preprocess import prepare_eval
from cion_jax.data.records import RecordSet
from cion_jax.evaluation import baselines, features, rank
from cion_jax.tasks import settings
from cion_jax.tasks.sources import EvaluationData
from cion_jax.train.preemption import Preempted, PreemptionWatch

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

    def figures(self, variables: Any) -> dict[str, float]:
        """mAP, mINP and rank-k of the weights, as fractions."""
        return self._rank(*self.features(variables))

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

    def baseline_figures(self) -> dict[str, dict[str, float]]:
        """The figures of features that nobody learned, by their name."""
        query, gallery = (self._small_images(records) for records in (self.data.query, self.data.gallery))
        return {name: self._rank(of(query), of(gallery)) for name, of in BASELINES.items()}

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

    def _small_images(self, records: RecordSet) -> np.ndarray:
        """All pictures at the evaluation size, uint8, resized on the device."""
        resize = jax.jit(
            functools.partial(prepare_eval, size=self.size, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        )
        parts = [
            np.asarray(resize(batch["image"], batch["size"]))[batch["valid"]]
            for batch in loader.evaluation_batches(
                records, self._batch, loader.canvas_of(records), threads=self._threads
            )
        ]
        return np.clip(np.rint(255 * np.concatenate(parts)), 0, 255).astype(np.uint8)
