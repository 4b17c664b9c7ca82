"""Task `pretrain`: records -> trained backbone, evaluated by retrieval, with checkpoints and a summary."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from cion_jax.core import agreement
from cion_jax.core import mesh as meshes
from cion_jax.core.rng import key_for
from cion_jax.core.target_lock import lock_shared_target
from cion_jax.data import feed, loader
from cion_jax.data.curriculum import Curriculum
from cion_jax.methods.distill import Distill, Settings
from cion_jax.tasks import batch_size, initial_weights, outputs, settings, sources
from cion_jax.tasks.programs import StepPrograms
from cion_jax.tasks.retrieval import Retrieval
from cion_jax.train import checkpoint, loop, memory
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
    train, evaluation = agreement.together(lambda: sources.open_data(config, say))
    saved = checkpoint.saved_identity(workdir)
    settings.check_group_rule(config, saved)
    build = functools.partial(_Run, config, workdir, mesh, train, evaluation, say)
    run_ = _sized(config, build, train, saved, say)
    agreement.require_same(settings.run_identity(config, run_.curriculum, train))
    for phase, use in run_.curriculum.use():
        say(
            f"epochs from {phase.first_epoch}, {phase.images_per_identity} images per identity: {use.sentence()}"
        )
    with PreemptionWatch() as preemption:
        retrieval = run_.evaluator(preemption)
        with memory.explain_out_of_memory(batch_size.KEY, run_.curriculum.batch_size):
            state = run_.train(retrieval, preemption, continuing=saved is not None)
        outputs.write(config, workdir, state, retrieval, say)


def _sized(config: ConfigDict, build: Callable[[int], "_Run"], train, saved: dict | None, say) -> "_Run":
    """The run with its batch size decided."""
    backbone, head = settings.modules(config)
    size = batch_size.resolve(config, backbone, head, train, saved)
    if config.data.batch_size != "auto" or saved is not None:
        return build(size)
    multiple = settings.batch_multiple(config)
    return batch_size.fit(size, multiple, build, lambda run_: run_.programs.bytes_per_device(), say)


def _curriculum(config: ConfigDict, train, size: int) -> Curriculum:
    return Curriculum(
        train.columns["identity"],
        batch_size=size,
        epochs=config.train.epochs,
        stages=config.train.curriculum,
        seed=config.seed,
        steps=config.train.steps,
        incomplete_groups=config.data.incomplete_groups,
    )


def _method(config: ConfigDict, curriculum: Curriculum, say) -> Distill:
    backbone, head = settings.modules(config)
    first = curriculum.phases[0]
    total, o = curriculum.total_steps, config.optimizer
    if o.schedule == "official" and not config.train.steps:
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
            shards=jax.device_count(),
        ),
    )


class _Run:
    """The pieces of one run of a given batch size, wired."""

    def __init__(self, config, workdir, mesh, train, evaluation, say, size: int):
        self.config, self.workdir, self.mesh = config, workdir, mesh
        self.records, self.evaluation, self.say = train, evaluation, say
        self.canvas = loader.canvas_of(train)
        self.curriculum = _curriculum(config, train, size)
        self.method = _method(config, self.curriculum, say)
        self.programs = StepPrograms(config, mesh, self.method, self.curriculum, self.canvas)

    def evaluator(self, preemption: PreemptionWatch) -> Retrieval | None:
        """The evaluation on query and gallery, None without such data."""
        if self.evaluation is None:
            return None
        apply = functools.partial(self.method.backbone.apply, train=False)
        return Retrieval(self.evaluation, self.config, self.mesh, apply, preemption)

    def train(
        self, retrieval: Retrieval | None, preemption: PreemptionWatch, *, continuing: bool
    ) -> TrainState:
        """Starts or restores the state and trains to the end."""
        config = self.config
        with checkpoint.Checkpoints(
            self.workdir,
            settings.run_identity(config, self.curriculum, self.records),
            every_steps=config.checkpoint.every_steps,
            every_minutes=config.checkpoint.every_minutes,
            keep=config.checkpoint.keep,
            clock_steps=config.log.every_steps,
        ) as checkpoints:
            state = self._restored(checkpoints) if continuing else self._fresh(checkpoints)
            return self._loop(state, checkpoints, retrieval, preemption, continuing)

    def _restored(self, checkpoints: checkpoint.Checkpoints) -> TrainState:
        like = jax.tree.map(
            lambda s, d: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=d),
            self.programs.shapes,
            self.programs.layout,
        )
        state = checkpoints.restore(like)
        self.say(f"going on from step {int(state.step)} of {self.workdir}")
        return state

    def _fresh(self, checkpoints: checkpoint.Checkpoints) -> TrainState:
        checkpoints.check_room(self.programs.shapes)
        # Parameters are born on the devices where they live.
        init = jax.jit(self.programs.init, out_shardings=self.programs.layout)
        state = init(key_for(self.config.seed, "init"))
        model = self.config.model
        if weights := model.weights:
            backbone = initial_weights.read(weights, model.name, resize=model.resize)
            state = initial_weights.put(state, self.programs.layout, backbone)
            self.say(f"student and teacher begin with the backbone of {weights}")
        return state

    def _loop(
        self, state: TrainState, checkpoints: checkpoint.Checkpoints, retrieval, preemption, continuing: bool
    ) -> TrainState:
        config, first_step = self.config, int(state.step)
        chief = jax.process_index() == 0
        log = NoLog()
        if chief:
            # Without a checkpoint, rows are of a run that is lost, if not of another model.
            kept_up_to = first_step if continuing else -1
            log = MetricsLog(self.workdir, kept_up_to, tensorboard=config.log.tensorboard)
        evaluation_steps = settings.evaluation_steps(config, self.curriculum) if retrieval else {}
        logged = self._evaluated_steps() if continuing else set()
        batches = feed.place_ahead(self._batches(first_step), self.programs.place)
        try:
            if retrieval:
                # Before the training: what could fail for lack of memory or time fails now.
                retrieval.baseline_figures(self.workdir)
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
                step_function=self.programs.step,
                batches=batches,
                evaluate=lambda state, step: self._evaluate(retrieval, state, step, log),
                evaluated=logged.__contains__,
                checkpoints=checkpoints,
                log=log,
                preemption=preemption,
                show_progress=chief,
            )
        finally:
            batches.close()
            log.close()

    def _batches(self, first_step: int) -> Iterator[dict[str, np.ndarray]]:
        chunks = loader.BatchChunks(
            self.records, self.curriculum, self.canvas, jax.process_index(), jax.process_count()
        )
        data = self.config.data
        return loader.training_batches(chunks, first_step, threads=data.threads, workers=data.workers)

    def _evaluated_steps(self) -> set[int]:
        """Of the first process, which wrote the rows: what one evaluates, all must."""
        steps = [row["step"] for row in read_rows(self.workdir) if "mAP" in row]
        return {agreement.from_first_process(max(steps, default=-1))}

    def _evaluate(self, retrieval: Retrieval, state: TrainState, step: int, log) -> None:
        network = state.teacher
        variables = {
            "params": network.params["backbone"],
            "batch_stats": network.batch_stats["backbone"],
        }
        figures = retrieval.figures(variables, step)
        log.write(step, figures)
        self.say(f"step {step}: " + ", ".join(f"{name} {figures[name]:.3f}" for name in ("mAP", "rank1")))
