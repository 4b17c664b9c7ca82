"""The compiled programs of a pre-training step, and the device memory that they need."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from cion_jax.core import mesh as meshes
from cion_jax.core.rng import key_for
from cion_jax.data.augment import multi_crop
from cion_jax.data.curriculum import Curriculum, Phase
from cion_jax.methods.distill import Distill
from cion_jax.tasks import settings
from cion_jax.train.memory import tree_bytes

BATCH_KEYS = ("image", "size", "record")


class StepPrograms:
    """Augmentation and update as two programs: the first serves all phases, the second is compiled once per phase.

    Args:
      config: the configuration.
      mesh: devices of the run.
      method: its step is compiled.
      curriculum: batch size and phases.
      canvas: height and width of the host's images.

    Attributes:
      shapes: the state as ShapeDtypeStructs.
      layout: the sharding of every leaf of the state.
      compiled: (images per identity, schedule offset) -> the compiled update, in the order of compilation.
    """

    def __init__(
        self,
        config: ConfigDict,
        mesh: Mesh,
        method: Distill,
        curriculum: Curriculum,
        canvas: tuple[int, int],
    ):
        self._config, self._method, self._curriculum, self._canvas = config, method, curriculum, canvas
        self._rows, self._one = meshes.batch_sharding(mesh), meshes.replicated(mesh)
        self.init = functools.partial(method.init, input_size=tuple(config.crops.global_size))
        self.shapes = jax.eval_shape(self.init, key_for(config.seed, "init"))
        self.layout = meshes.shardings(mesh, self.shapes, config.mesh.rules)
        # Made by a program: device_put does not take keys to the devices of other processes.
        self._augment_key, self._drop_path_key = (
            jax.jit(functools.partial(key_for, config.seed, purpose), out_shardings=self._one)()
            for purpose in ("augment", "drop_path")
        )
        self._views = jax.jit(self._make_views, out_shardings=(self._rows, self._one))
        self.compiled: dict[tuple[int, int], jax.stages.Compiled] = {}

    def place(self, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
        """Puts this process's rows of a batch on its devices."""
        return meshes.put_batch({name: batch[name] for name in BATCH_KEYS}, self._rows)

    def step(self, step: int, state: Any, batch: dict[str, jax.Array]) -> tuple[Any, dict[str, jax.Array]]:
        """One update from a placed batch: (state, metrics); the state is given up."""
        crops, order = self._views(self._augment_key, state.step, *(batch[name] for name in BATCH_KEYS))
        state, metrics = self.update(self._curriculum.phase(step))(state, crops, self._drop_path_key)
        return state, metrics | {"data_order": order}

    def update(self, phase: Phase) -> jax.stages.Compiled:
        """The update (state, crops, key) -> (state, metrics) of a phase, compiled at the first call."""
        official = self._config.optimizer.schedule == "official"
        offset = phase.first_epoch * phase.epoch_length - phase.first_step if official else 0
        key = phase.images_per_identity, offset
        if key not in self.compiled:
            function = jax.jit(
                functools.partial(self._method.step, images_per_identity=key[0], schedule_offset=offset),
                in_shardings=(self.layout, self._rows, self._one),
                out_shardings=(self.layout, self._one),
                donate_argnums=0,
            )
            self.compiled[key] = function.lower(
                self.shapes, self._crop_shapes(), self._drop_path_key
            ).compile()
        return self.compiled[key]

    def bytes_per_device(self) -> int:
        """Device memory of a step of the first phase, from the compiled program, and of the batches on their way."""
        analysis = self.update(self._curriculum.phases[0]).memory_analysis()
        step = (
            analysis.argument_size_in_bytes
            + analysis.output_size_in_bytes
            - analysis.alias_size_in_bytes
            + analysis.temp_size_in_bytes
        )
        return step + self._bytes_on_their_way()

    def _bytes_on_their_way(self) -> int:
        """The next crops and three placed batches (one in use, `feed.place_ahead` holds two), of one device."""
        devices = self._rows.mesh.size
        images = self._curriculum.batch_size // devices
        return tree_bytes(self._crop_shapes()) // devices + 3 * images * int(np.prod(self._canvas)) * 3

    def _crop_shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        crops, batch = self._config.crops, self._curriculum.batch_size
        dtype = settings.compute_dtype(self._config)

        def shape(count: int, size: tuple[int, int]) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct((batch, count, *size, 3), dtype, sharding=self._rows)

        return {
            "global": shape(2, tuple(crops.global_size)),
            "local": shape(crops.local_count, tuple(crops.local_size)),
        }

    def _make_views(self, key, step, images, sizes, records):
        policy, dtype = settings.crop_policy(self._config), settings.compute_dtype(self._config)
        crops = multi_crop(jax.random.fold_in(key, step), images, sizes, policy=policy, dtype=dtype)
        return {"global": crops[0], "local": crops[1]}, _checksum(records)


def _checksum(records: jax.Array) -> jax.Array:
    """A number that changes when the batch holds other records, or the same ones in another order: uint32."""
    odd = 2 * jnp.arange(records.shape[0], dtype=jnp.uint32) + 1
    return jnp.sum((records.astype(jnp.uint32) + 1) * odd * jnp.uint32(2654435761), dtype=jnp.uint32)
