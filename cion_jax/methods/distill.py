"""CION's identity-guided self-distillation: `init` and `step`, pure. With one image per identity it is DINO."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cion_jax.losses import distill
from cion_jax.train import guard, optimizer
from cion_jax.train.schedules import Schedules
from cion_jax.train.state import Network, TrainState

Views = dict[str, jax.Array]  # "global" [batch, 2, height, width, 3] and "local" [batch, n, height, width, 3]
OFFICIAL_CLIP_NORM = 3.0 / 65536  # the limit as it acts on gradients times fp16's initial loss scale


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the method needs to know besides the modules.

    `clip` 0 leaves gradients alone; `clip_mode` "official" gives every tensor the same tiny norm. The last layer
    is frozen for the first `freeze_steps` steps. `accumulate` splits a batch into micro-batches of whole identities;
    `shards` is the number of devices that share a batch, so that each micro-batch holds rows of every device.
    """

    pairs: str = "official"
    student_temp: float = 0.1
    teacher_temp: float = 0.04
    center_momentum: float = 0.9
    clip: float = 3.0
    clip_mode: str = "limit"
    freeze_steps: int = 0
    accumulate: int = 1
    shards: int = 1


@dataclasses.dataclass(frozen=True)
class Distill:
    """The method for one pair of modules.

    Attributes:
      backbone: images [n, height, width, 3] -> features [n, width].
      head: features [..., width] -> outputs [..., K].
      schedules: learning rate, weight decay, teacher momentum.
      settings: see `Settings`.
    """

    backbone: nn.Module
    head: nn.Module
    schedules: Schedules
    settings: Settings

    def init(self, key: jax.Array, input_size: tuple[int, int]) -> TrainState:
        """A fresh state; the teacher starts as a copy of the student.

        Args:
          key: random key of the weights.
          input_size: height and width of the global views.
        """
        backbone_key, head_key = jax.random.split(key)
        images = jnp.zeros((1, *input_size, 3))
        backbone = self.backbone.init(backbone_key, images, train=False)
        features = jax.eval_shape(lambda v: self.backbone.apply(v, images, train=False), backbone)
        head = self.head.init(head_key, jnp.zeros(features.shape))
        student = Network(
            params={"backbone": backbone["params"], "head": head["params"]},
            batch_stats={
                "backbone": backbone.get("batch_stats", {}),
                "head": head.get("batch_stats", {}),
            },
        )
        outputs = jax.eval_shape(lambda v, f: self.head.apply(v, f), head, features)
        zero = jnp.zeros((), jnp.int32)
        return TrainState(
            step=zero,
            student=student,
            teacher=jax.tree.map(jnp.copy, student),
            optimizer=optimizer.adam().init(student.params),
            center=jnp.zeros(outputs.shape[-1], jnp.float32),
            skipped=zero,
            skipped_in_row=zero,
        )

    def step(
        self,
        state: TrainState,
        views: Views,
        key: jax.Array,
        *,
        images_per_identity: int,
        schedule_offset: int = 0,
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """One update of student, teacher and centre.

        Args:
          state: the state before.
          views: crops of one batch; images of an identity stand together.
          key: random key of the run for drop path; the step is folded in here.
          images_per_identity: N_id of this phase.
          schedule_offset: added to the step to find the position in the schedules.

        Returns:
          The state after, and float32 scalars: loss, grad_norm, lr, weight_decay, momentum, teacher_entropy,
          teacher_kl_uniform, center_norm, skipped.
        """
        key = jax.random.fold_in(key, state.step)
        rates = self.schedules.at(state.step + schedule_offset)
        grads, aux = self._gradients(state, views, key, images_per_identity)
        loss = aux["loss"]
        center = distill.update_center(
            state.center, aux["teacher_mean"], momentum=self.settings.center_momentum
        )
        # Statistics too: a maximum that drops a NaN, as XLA's on CPU does, may hide it from the loss.
        finite = guard.all_finite((loss, grads, center, aux["student_stats"], aux["teacher_stats"]))
        new = guard.guarded(
            finite, self._update, state, grads, center, aux["student_stats"], aux["teacher_stats"], rates
        )
        metrics = {
            "loss": loss,
            "grad_norm": _global_norm(grads),
            **rates,
            "teacher_entropy": aux["entropy"],
            "teacher_kl_uniform": _kl_to_uniform(aux["mean_probabilities"]),
            "center_norm": jnp.linalg.norm(new.center),
            "skipped": new.skipped.astype(jnp.float32),
            "skipped_in_row": new.skipped_in_row.astype(jnp.float32),
        }
        return new, metrics

    def _update(self, state, grads, center, student_stats, teacher_stats, rates) -> TrainState:
        """Student by AdamW, teacher by moving average, and what the forward passes left behind."""
        frozen = state.step < self.settings.freeze_steps
        direction, moments = optimizer.adam().update(self._clip(grads), state.optimizer, frozen=frozen)
        params = optimizer.apply(state.student.params, direction, rates["lr"], rates["weight_decay"], frozen)
        momentum = rates["momentum"]
        average = jax.tree.map(lambda t, s: momentum * t + (1 - momentum) * s, state.teacher.params, params)
        return state.replace(
            student=Network(params, student_stats),
            teacher=Network(average, teacher_stats),
            optimizer=moments,
            center=center,
        )

    def features(self, network: Network, images: jax.Array) -> jax.Array:
        """Features of the backbone in evaluation mode: [n, height, width, 3] -> [n, width]."""
        variables = {"params": network.params["backbone"], "batch_stats": network.batch_stats["backbone"]}
        return self.backbone.apply(variables, images, train=False)

    def _gradients(
        self, state: TrainState, views: Views, key: jax.Array, n: int
    ) -> tuple[Any, dict[str, Any]]:
        """Mean gradient and by-products over the micro-batches; batch statistics pass from one to the next."""
        value_and_grad = jax.value_and_grad(self._loss, has_aux=True)

        def part(stats, index, crops):
            part_key = jax.random.fold_in(key, index)
            (_, aux), grads = value_and_grad(state.student.params, state, stats, crops, part_key, n)
            return (aux.pop("student_stats"), aux.pop("teacher_stats")), (grads, aux)

        stats, parts = (state.student.batch_stats, state.teacher.batch_stats), self.settings.accumulate
        if parts == 1:
            stats, (grads, aux) = part(stats, 0, views)
        else:
            micro = jax.tree.map(lambda x: split_batch(x, parts, self.settings.shards), views)

            def add_part(carry, inputs):
                stats, sums = carry
                stats, new = part(stats, *inputs)
                return (stats, jax.tree.map(jnp.add, sums, new)), None

            first = jax.tree.map(lambda x: x[0], micro)
            zeros = jax.tree.map(
                lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(part, stats, 0, first)[1]
            )
            (stats, sums), _ = jax.lax.scan(add_part, (stats, zeros), (jnp.arange(parts), micro))
            grads, aux = jax.tree.map(lambda x: x / parts, sums)
        return grads, aux | {"student_stats": stats[0], "teacher_stats": stats[1]}

    def loss(self, params: Any, state: TrainState, views: Views, key: jax.Array, *, images_per_identity: int):
        """The loss of `params` as the student, and by-products; what a step differentiates.

        Returns:
          (float32 scalar, dict).
        """
        stats = (state.student.batch_stats, state.teacher.batch_stats)
        return self._loss(params, state, stats, views, key, images_per_identity)

    def _loss(
        self, params: Any, state: TrainState, stats: tuple[Any, Any], views: Views, key: jax.Array, n: int
    ):
        s = self.settings
        student_key, teacher_key = jax.random.split(key)
        teacher, teacher_stats = self._outputs(
            Network(state.teacher.params, stats[1]), [views["global"]], teacher_key
        )
        teacher = jax.lax.stop_gradient(teacher)
        student, student_stats = self._outputs(
            Network(params, stats[0]), [views["global"], views["local"]], student_key
        )
        loss = distill.identity_loss(
            student,
            teacher,
            state.center,
            images_per_identity=n,
            student_temp=s.student_temp,
            teacher_temp=s.teacher_temp,
            pairs=s.pairs,
        )
        probabilities = distill.teacher_probabilities(teacher, state.center, s.teacher_temp)
        aux = {
            "loss": loss,
            "teacher_mean": jnp.mean(teacher.astype(jnp.float32), axis=(0, 1)),
            "mean_probabilities": jnp.mean(probabilities, axis=(0, 1)),
            "entropy": jnp.mean(jnp.sum(jax.scipy.special.entr(probabilities), axis=-1)),
            "student_stats": jax.lax.stop_gradient(student_stats),
            "teacher_stats": jax.lax.stop_gradient(teacher_stats),
        }
        return loss, aux

    def _outputs(self, network: Network, groups: list[jax.Array], key: jax.Array) -> tuple[jax.Array, Any]:
        """Head outputs [views, batch, K] in train mode, and the new batch statistics.

        One pass of the backbone per crop size, so that batch statistics differ between sizes, as in the released
        code; the head runs once. Rows stay image by image: a shard of the batch keeps its images' views.
        """
        stats, features = dict(network.batch_stats), []
        for index, crops in enumerate(g for g in groups if g.shape[1]):
            batch, views = crops.shape[:2]
            output, stats["backbone"] = _apply_in_training(
                self.backbone,
                network.params["backbone"],
                stats["backbone"],
                crops.reshape(batch * views, *crops.shape[2:]),
                jax.random.fold_in(key, index),
            )
            features.append(output.reshape(batch, views, -1))
        joined = jnp.concatenate(features, axis=1)  # [batch, views, width]
        outputs, stats["head"] = _apply_in_training(
            self.head, network.params["head"], stats["head"], joined, jax.random.fold_in(key, len(groups))
        )
        return jnp.swapaxes(outputs, 0, 1), stats

    def _clip(self, grads: Any) -> Any:
        if self.settings.clip_mode == "official":
            return optimizer.rescale_per_tensor(grads, OFFICIAL_CLIP_NORM)
        return optimizer.clip_per_tensor(grads, self.settings.clip) if self.settings.clip > 0 else grads


def split_batch(rows: jax.Array, parts: int, shards: int) -> jax.Array:
    """Micro-batches [parts, batch / parts, ...] of an array [batch, ...] whose rows lie on `shards` devices in order.

    Every device contributes an equal, contiguous share of its own rows to each part, so no row moves between devices.
    """
    share = rows.shape[0] // (parts * shards)
    split = rows.reshape(shards, parts, share, *rows.shape[1:])
    return jnp.swapaxes(split, 0, 1).reshape(parts, shards * share, *rows.shape[1:])


def _apply_in_training(module: nn.Module, params: Any, stats: Any, inputs: jax.Array, key: jax.Array):
    """Output and new batch statistics ({} for a module without BatchNorm)."""
    output, changed = module.apply(
        {"params": params, "batch_stats": stats},
        inputs,
        train=True,
        mutable=["batch_stats"],
        rngs={"drop_path": key},
    )
    return output, changed.get("batch_stats", {})


def _global_norm(tree: Any) -> jax.Array:
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf.astype(jnp.float32))) for leaf in jax.tree.leaves(tree)))


def _kl_to_uniform(probabilities: jax.Array) -> jax.Array:
    """KL of the batch's mean teacher distribution to the uniform one: log K means that one output takes all."""
    return jnp.log(probabilities.shape[-1]) - jnp.sum(jax.scipy.special.entr(probabilities))
