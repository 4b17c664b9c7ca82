"""Task `pretrain`: records -> trained backbone, evaluated by retrieval, with checkpoints and a summary."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from cion_jax.core import mesh as meshes
from cion_jax.core.rng import key_for
from cion_jax.core.shared_target import lock_shared_target
from cion_jax.data import loader
from cion_jax.data.augment import multi_crop
from cion_jax.data.curriculum import Curriculum
from cion_jax.methods.distill import Distill, Settings
from cion_jax.tasks import batch_size, initial_weights, outputs, retrieval, settings, sources
from cion_jax.train import checkpoint, loop
from cion_jax.train.logging import MetricsLog, NoLog, read_rows
from cion_jax.train.preemption import PreemptionWatch
from cion_jax.train.schedules import Schedules
from cion_jax.train.state import TrainState

RATE_BATCH = 256  # the batch for which config.optimizer.lr is meant


def run(config: ConfigDict, workdir: Path) -> None:
    """Trains, or goes on with, the run of `workdir`.

    Raises:
      UserError: for settings, data or checkpoints that do not fit; see the message.
      Preempted: the machine is about to be taken away; the state is saved.
    """
    with lock_shared_target(workdir, "pretrain"):
        _train(config, workdir)


def _train(config: ConfigDict, workdir: Path) -> None:
    """The task, in a work directory that no other run writes."""
    settings.check(config)
    say = outputs.Speaker()
    mesh = meshes.make_mesh(config.mesh.fsdp)
    say(f"{jax.device_count()} x {jax.devices()[0].device_kind}, {jax.process_count()} process(es)")
    train, evaluation = sources.open_data(config, say)
    saved = checkpoint.saved_identity(workdir)
    backbone, head = settings.modules(config)
    size = batch_size.resolve(config, backbone, head, train, saved, say)
    curriculum = Curriculum(
        train.columns["identity"],
        batch_size=size,
        epochs=config.train.epochs,
        stages=config.train.curriculum,
        seed=config.seed,
        steps=config.train.steps,
    )
    method = _method(config, backbone, head, curriculum, say)
    for phase, use in curriculum.use():
        say(
            f"epochs from {phase.first_epoch}, {phase.images_per_identity} images per identity: {use.sentence()}"
        )

    with PreemptionWatch() as preemption:
        run_ = _Run(config, workdir, mesh, method, curriculum, train, evaluation, preemption, say)
        state = run_.train(continuing=saved is not None)
        outputs.write(config, workdir, state, run_.retrieval, say)


def _method(config: ConfigDict, backbone, head, curriculum: Curriculum, say) -> Distill:
    first = curriculum.phases[0]
    total, o = curriculum.total_steps, config.optimizer
    if o.schedule == "official":
        total = config.train.epochs * first.epoch_length
    warmup = round(o.warmup_epochs * first.epoch_length)
    if warmup >= total:
        say(
            f"the warm-up of {warmup} steps is longer than the run: shortened to a tenth, {total // 10} steps"
        )
        warmup = total // 10
    lr = o.lr * curriculum.batch_size / RATE_BATCH
    say(f"{curriculum.total_steps:,} steps of {curriculum.batch_size} images; peak learning rate {lr:.3g}")
    return Distill(
        backbone,
        head,
        Schedules(total, warmup, lr, o.lr_end, tuple(o.weight_decay), tuple(o.teacher_momentum)),
        Settings(
            pairs=config.loss.pairs,
            student_temp=config.loss.student_temp,
            teacher_temp=config.loss.teacher_temp,
            center_momentum=config.loss.center_momentum,
            clip=o.clip,
            clip_mode=o.clip_mode,
            freeze_steps=round(o.freeze_last_layer_epochs * first.epoch_length),
            accumulate=config.train.accumulate,
        ),
    )


class _Run:
    """The pieces of one run, wired."""

    def __init__(self, config, workdir, mesh, method, curriculum, train, evaluation, preemption, say):
        self.config, self.workdir, self.mesh, self.method = config, workdir, mesh, method
        self.curriculum, self.records, self.preemption, self.say = curriculum, train, preemption, say
        self.canvas = loader.canvas_of(train)
        self.retrieval = evaluation and retrieval.Retrieval(
            evaluation, config, mesh, functools.partial(method.backbone.apply, train=False), preemption
        )
        self.augment = settings.crop_policy(config)
        self.rows = meshes.batch_sharding(mesh)

    def train(self, continuing: bool) -> TrainState:
        config = self.config
        init = functools.partial(self.method.init, input_size=tuple(config.crops.global_size))
        key = key_for(config.seed, "init")
        shapes = jax.eval_shape(init, key)
        layout = meshes.shardings(self.mesh, shapes, config.mesh.rules)
        with checkpoint.Checkpoints(
            self.workdir,
            settings.run_identity(config, self.curriculum, self.records),
            every_steps=config.checkpoint.every_steps,
            every_minutes=config.checkpoint.every_minutes,
            keep=config.checkpoint.keep,
        ) as checkpoints:
            if continuing:
                like = jax.tree.map(
                    lambda s, d: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=d), shapes, layout
                )
                state = checkpoints.restore(like)
                self.say(f"going on from step {int(state.step)} of {self.workdir}")
            else:
                checkpoints.check_room(shapes)
                # Parameters are born on the devices where they live.
                state = jax.jit(init, out_shardings=layout)(key)
                if weights := config.model.weights:
                    backbone = initial_weights.read(weights, config.model.name)
                    state = initial_weights.put(state, layout, backbone)
                    self.say(f"student and teacher begin with the backbone of {weights}")
            return self._loop(state, layout, checkpoints, continuing)

    def _loop(
        self, state: TrainState, layout, checkpoints: checkpoint.Checkpoints, continuing: bool
    ) -> TrainState:
        config, first_step = self.config, int(state.step)
        chief = jax.process_index() == 0
        log = NoLog()
        if chief:
            # Without a checkpoint, rows are of a run that is lost, if not of another model.
            kept_up_to = first_step if continuing else -1
            log = MetricsLog(self.workdir, kept_up_to, tensorboard=config.log.tensorboard)
        chunks = loader.BatchChunks(
            self.records, self.curriculum, self.canvas, jax.process_index(), jax.process_count()
        )
        evaluation_steps = settings.evaluation_steps(config, self.curriculum) if self.retrieval else {}
        logged = self._evaluated_steps() if continuing else set()
        try:
            return loop.run(
                state,
                first_step,
                plan=loop.Plan(
                    total_steps=self.curriculum.total_steps,
                    batch_size=self.curriculum.batch_size,
                    log_every=config.log.every_steps,
                    evaluate_at=evaluation_steps.__contains__,
                    max_skipped=config.train.max_skipped,
                ),
                step_function=self._step_function(layout),
                batches=loader.training_batches(
                    chunks, first_step, threads=config.data.threads, workers=config.data.workers
                ),
                evaluate=lambda state, step: self._evaluate(state, step, log),
                evaluated=logged.__contains__,
                checkpoints=checkpoints,
                log=log,
                preemption=self.preemption,
                show_progress=chief,
            )
        finally:
            log.close()

    def _evaluated_steps(self) -> set[int]:
        """Of the first process, which wrote the rows: what one evaluates, all must."""
        steps = [row["step"] for row in read_rows(self.workdir) if "mAP" in row]
        last = np.asarray(max(steps, default=-1))
        return {int(multihost_utils.broadcast_one_to_all(last))}

    def _step_function(self, layout) -> loop.StepFunction:
        """Augmentation and update as two programs: the first serves all phases, the second is one per phase."""
        one = meshes.replicated(self.mesh)
        dtype = settings.compute_dtype(self.config)
        # Made by a program: device_put does not take keys to the devices of other processes.
        key, drop_path_key = (
            jax.jit(functools.partial(key_for, self.config.seed, purpose), out_shardings=one)()
            for purpose in ("augment", "drop_path")
        )

        @functools.partial(jax.jit, out_shardings=(self.rows, one))
        def views(step, images, sizes, records):
            crops = multi_crop(jax.random.fold_in(key, step), images, sizes, policy=self.augment, dtype=dtype)
            return {"global": crops[0], "local": crops[1]}, _checksum(records)

        @functools.cache
        def update(phase):
            official = self.config.optimizer.schedule == "official"
            offset = phase.first_epoch * phase.epoch_length - phase.first_step if official else 0
            return jax.jit(
                functools.partial(
                    self.method.step, images_per_identity=phase.images_per_identity, schedule_offset=offset
                ),
                in_shardings=(layout, self.rows, one),
                out_shardings=(layout, one),
                donate_argnums=0,
            )

        self.compiled_updates = update

        def step_function(step, state, batch):
            placed = meshes.put_batch({k: batch[k] for k in ("image", "size", "record")}, self.rows)
            crops, order = views(state.step, placed["image"], placed["size"], placed["record"])
            state, metrics = update(self.curriculum.phase(step))(state, crops, drop_path_key)
            return state, metrics | {"data_order": order}

        return step_function

    def _evaluate(self, state: TrainState, step: int, log) -> None:
        network = state.teacher
        variables = {
            "params": network.params["backbone"],
            "batch_stats": network.batch_stats["backbone"],
        }
        figures = self.retrieval.figures(variables)
        log.write(step, figures)
        self.say(f"step {step}: " + ", ".join(f"{name} {figures[name]:.3f}" for name in ("mAP", "rank1")))


def _checksum(records: jax.Array) -> jax.Array:
    """A number that changes when the batch holds other records, or the same ones in another order: uint32."""
    odd = 2 * jnp.arange(records.shape[0], dtype=jnp.uint32) + 1
    return jnp.sum((records.astype(jnp.uint32) + 1) * odd * jnp.uint32(2654435761), dtype=jnp.uint32)
