"""Training: one run from its newest checkpoint, or from nothing, to its last step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from msgspec import UnsetType

from experiments.resources import Execution
from experiments.spec import Run, Xent
from jobs.engine import checkpoint_format
from jobs.engine.data import FolderImages, ImageSet, load, training_batches
from jobs.engine.distributed import Group
from jobs.engine.heartbeats import Progress
from jobs.engine.metrics import Meter, Pending
from jobs.engine.precision import training_precision
from jobs.engine.training import encoder_noise, initial_weights, schedules, step
from jobs.engine.training.async_checkpointer import AsyncCheckpointer
from jobs.engine.training.epoch_sampler import EpochSampler
from jobs.engine.training.train_state import DEFAULT, RESTORED, TrainState, initial_state, restore
from jobs.errors import Stopped
from jobs.journal.files import Journal
from jobs.journal.records import Resumed
from jobs.paths import RunPaths

METRICS_STEPS = 100
"""Metrics are written at the end of each epoch, and in longer epochs after every so many steps too."""
COLLECT_STEPS = 20
"""The losses are fetched from the device after this many steps at most."""
COLLAPSED = (0.5, 0.05)
"""The margin by which an accuracy has to exceed that of a constant prediction: this share of the images that the
prediction gets right, or this share of those it gets wrong if that is less."""


def train(
    run: Run,
    paths: RunPaths,
    journal: Journal | None,
    data_root: Path,
    device: str,
    should_stop: Callable[[], bool],
    checkpoint_seconds: float = 60.0,
    execution: Execution = DEFAULT,
) -> None:
    """Train to the end and leave the final checkpoint; at once if it is there already.

    Raises Stopped, with a checkpoint written, once `should_stop()` is true; DivergedError if a loss is not finite
    or has exploded; InputError for data that is missing or damaged, and for a precision or an execution that this
    device does not have. Journals heartbeats, metrics and checkpoints.

    The processes of a torch.distributed group train together; the first one writes for all, the others need no journal.
    Raises PeerLostError if one of them has ended.
    """
    images = load(run.data, "train", data_root)
    sampler = EpochSampler(run, len(images))
    group = Group.default()
    state = initial_state(run, images.labels_N, device, group, execution)
    checkpoint = None
    if group.is_leader:
        checkpoint = checkpoint_format.load_newest(run, paths.checkpoints, set_aside=True, keys=RESTORED)
        checkpoint = checkpoint or initial_weights.load_initial(state, paths)
    # Read by one process for all: on another machine the folder may look older.
    checkpoint = group.broadcast(checkpoint)
    if checkpoint is not None:
        restore(state, checkpoint)
        if journal is not None and state.step:
            journal.write(Resumed(step=state.step, file=checkpoint.file.name))
    checkpointer = AsyncCheckpointer(state, paths.checkpoints, journal, checkpoint_seconds)
    training = Training(state, images, sampler, journal, checkpointer, device)
    if execution.compile != "off":
        training.progress.beat(state.step, 0, "compiling the network")
    with training_precision(run, device), checkpointer:
        while state.step < sampler.steps:
            training.train_epoch(should_stop)
        if not sampler.steps:  # imported, to be evaluated as it is
            training.save(ends=True)


class Training:
    """The loop over steps: metrics, the gate of a jump-start, checkpoints and requests to stop between them."""

    def __init__(
        self,
        state: TrainState,
        images: ImageSet,
        sampler: EpochSampler,
        journal: Journal | None,
        checkpointer: AsyncCheckpointer,
        device: str,
    ) -> None:
        self.state, self.images, self.sampler = state, images, sampler
        self.checkpointer, self.device = checkpointer, device
        self.progress = Progress(journal, device, sampler.steps, sampler.steps_per_epoch)
        self.pending, self.window = Pending(), Meter()
        self.corrupt = images.corrupt if isinstance(images, FolderImages) else {}
        self.corrupt_shared = 0
        """Corrupt images that the other processes know of."""

    def train_epoch(self, should_stop: Callable[[], bool]) -> None:
        """Train to the end of the epoch that is under way."""
        run, state = self.state.run, self.state
        epoch = state.step // self.sampler.steps_per_epoch
        unit = 1 if isinstance(run.replica_batch, UnsetType) else run.replica_batch
        shards = [state.group.shard(samples_B, unit) for samples_B in self.sampler.remaining_batches(state.step)]
        loader = self.progress.time_loading(
            training_batches(self.images, shards, run, epoch, self.sampler.order(epoch), self.device)
        )
        noises = encoder_noise.for_each(run, epoch, shards, self.device)
        for requested_B, noise_BZ, (samples_B, x_BCHW, y_B) in zip(shards, noises, loader, strict=True):
            images = len(y_B)
            if images < len(requested_B):  # some could not be read
                noise_BZ = noise_BZ[torch.isin(requested_B, samples_B).to(noise_BZ.device)]
            scheduled = step.scheduled_values(state, self.sampler)
            losses = step.train_step(state, scheduled, epoch, samples_B, x_BCHW, y_B, noise_BZ, requested_B)
            self.pending.add(state.step, images, losses)
            state.step += 1
            self.after_step(scheduled, images, should_stop())

    def after_step(self, scheduled: step.ScheduledValues, images: int, stop: bool) -> None:
        """Journal, pass the gate and save, as far as each is due; raise Stopped if asked to `stop` before the end."""
        state, done = self.state, self.state.step == self.sampler.steps
        self.checkpointer.poll()
        # Every process must decide alike: one that stops or saves by itself leaves the others waiting for it.
        images, stop, save_due = self.agree(images, stop, state.group.is_leader and self.checkpointer.is_due)
        epoch_ends = done or state.step % self.sampler.steps_per_epoch == 0
        window_ends = self.window.steps + len(self.pending) >= METRICS_STEPS
        ends = done or stop
        save = ends or save_due
        # Before a checkpoint too: none may be written of a run that has diverged.
        if epoch_ends or window_ends or save or len(self.pending) >= COLLECT_STEPS:
            self.pending.collect(state.last_checkpoint, state.group, state.epoch, self.window)
        if epoch_ends:
            self.end_epoch(scheduled)
        elif window_ends:
            self.write_metrics(scheduled, self.window)
        self.progress.beat(state.step, images, self.checkpointer.activity)
        if save:
            self.save(ends)
        if stop and not done:
            raise Stopped

    def agree(self, images: int, stop: bool, save: bool) -> tuple[int, bool, bool]:
        """Return the values that all processes use: the images of all, and if any of them asks to stop or to save."""
        group, unshared = self.state.group, len(self.corrupt) - self.corrupt_shared
        all_images, stops, saves, all_unshared = group.sums([images, stop, save, unshared])
        if all_unshared and group.size > 1 and isinstance(self.images, FolderImages):
            for index, why in group.gather(dict(list(self.corrupt.items())[self.corrupt_shared :])).items():
                self.images.leave_out(index, why)
        self.corrupt_shared = len(self.corrupt)
        return int(all_images), stops > 0, saves > 0

    def end_epoch(self, scheduled: step.ScheduledValues) -> None:
        """Journal the means over the epoch, and let its training accuracy pass the gate of the jump-start."""
        state = self.state
        accuracy = state.epoch.means()["train_accuracy"]
        is_constant = is_collapsed(accuracy, self.constant_accuracy())
        self.write_metrics(scheduled, state.epoch, collapsed=float(is_constant))
        if not isinstance(state.run.objective, Xent):
            jump_start = state.run.objective.jump_start
            state.passed_step = schedules.gate_passed(jump_start, accuracy, state.step, state.passed_step)
        state.epoch = Meter()

    def constant_accuracy(self) -> float:
        """Return the accuracy of the best constant prediction on the epoch that ends here: the share of the commonest
        class among its images."""
        first_step = (self.state.step - 1) // self.sampler.steps_per_epoch * self.sampler.steps_per_epoch
        samples_M = torch.cat(self.sampler.remaining_batches(first_step))
        read_M = ~torch.isin(samples_M, torch.tensor(list(self.corrupt), dtype=torch.int64))
        counts_K = self.images.labels_N[samples_M[read_M]].bincount()
        return (counts_K.max() / counts_K.sum()).item()

    def write_metrics(self, scheduled: step.ScheduledValues, meter: Meter, **extra: float) -> None:
        """Journal the means of a meter, and begin a new window."""
        if isinstance(self.images, FolderImages):
            extra["corrupt_images"] = float(len(self.corrupt))
        self.progress.write_metrics(self.state.step, meter, **scheduled.metrics(self.state.run.objective), **extra)
        self.window = Meter()

    def save(self, ends: bool) -> None:
        """Start a checkpoint; where the attempt `ends` with it, all processes wait until it is written."""
        group = self.state.group
        if group.is_leader:
            beat = partial(self.progress.beat, self.state.step, 0)
            self.checkpointer.start(beat)
            if ends:
                self.checkpointer.wait(beat)
        if ends:
            group.sums([0])  # a barrier: a process that ends early would look lost to the others


def is_collapsed(accuracy: float, constant: float) -> bool:
    """Whether an accuracy over some images is as good as that of a prediction that ignores them, `constant`.

    With 10 even classes, where a constant prediction gets 10%, up to 14.5% count as collapsed; with 1,000, up to 0.15%;
    where it gets 90%, up to 90.5%. A network that is right on all images has not collapsed; on images of one class
    nothing can.
    """
    right_share, wrong_share = COLLAPSED
    return constant < 1 and accuracy <= constant + min(right_share * constant, wrong_share * (1 - constant))
