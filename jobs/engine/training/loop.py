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
from jobs.engine.data import FolderImages, ImageSet, batches, load
from jobs.engine.distributed import Group
from jobs.engine.heartbeats import Progress
from jobs.engine.metrics import Meter, Pending
from jobs.engine.precision import arithmetic
from jobs.engine.training import encoder_noise, initial_weights, schedules, step
from jobs.engine.training.async_checkpointer import Saver
from jobs.engine.training.epoch_sampler import Length
from jobs.engine.training.train_state import DEFAULT, State, initial, restore
from jobs.errors import Stopped
from jobs.journal.files import Journal
from jobs.paths import RunPaths

METRICS_STEPS = 100
"""Metrics are written at the end of each epoch, and in longer epochs after every so many steps too."""
COLLECT_STEPS = 20
"""After how many steps at most the losses are looked at."""
COLLAPSED = (0.5, 0.05)
"""By how much an accuracy has to exceed a constant prediction's at least: by this share of what that gets right, or by
this share of what it gets wrong if that is less."""


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
    or has exploded; InputError for data that is missing or damaged, and for a precision or an execution that is not for
    this device. Journals heartbeats, metrics and checkpoints.

    The processes of a torch.distributed group train together; the first one writes for all, the others need no journal.
    PeerLostError if one of them is gone.
    """
    images = load(run.data, "train", data_root)
    length = Length(run, len(images))
    group = Group.default()
    state = initial(run, images.labels_N, device, group, execution)
    # Read by one and told to all: on other machines the folder may look older.
    loaded = group.from_first(
        checkpoint_format.load_newest(run, paths.checkpoints, set_aside=True) or initial_weights.first(state, paths)
        if group.leads
        else None
    )
    if loaded is not None:
        restore(state, loaded)
    saver = Saver(state, paths.checkpoints, journal, checkpoint_seconds)
    training = Training(state, images, length, journal, saver, device)
    if execution.compile != "off":
        training.progress.beat(state.step, 0, "compiling the network")
    with arithmetic(run, device), saver:
        while state.step < length.steps:
            training.epoch(should_stop)
        if not length.steps:  # imported, to be evaluated as it is
            training.save(ends=True)


class Training:
    """The loop over steps and what happens between them."""

    def __init__(
        self,
        state: State,
        images: ImageSet,
        length: Length,
        journal: Journal | None,
        saver: Saver,
        device: str,
    ) -> None:
        self.state, self.images, self.length = state, images, length
        self.saver, self.device = saver, device
        self.progress = Progress(journal, device, length.steps, length.steps_per_epoch)
        self.pending, self.window = Pending(), Meter()
        self.corrupt = images.corrupt if isinstance(images, FolderImages) else {}
        self.corrupt_told = 0

    def epoch(self, should_stop: Callable[[], bool]) -> None:
        """Train to the end of the epoch that is under way."""
        run, state = self.state.run, self.state
        number = state.step // self.length.steps_per_epoch
        unit = 1 if isinstance(run.replica_batch, UnsetType) else run.replica_batch
        mine = [state.group.share(samples_B, unit) for samples_B in self.length.rest_of_epoch(state.step)]
        loader = batches(self.images, mine, run.data.augment, run.seed, number, self.device)
        drawn = encoder_noise.for_each(run, number, mine, self.device)
        for asked_B, noise_BZ, (samples_B, x_BCHW, y_B) in zip(mine, drawn, self.progress.timed(loader), strict=True):
            images = len(y_B)
            if images < len(asked_B):  # some could not be read
                noise_BZ = noise_BZ[torch.isin(asked_B, samples_B).to(noise_BZ.device)]
            now = step.in_force(state, self.length)
            values = step.take(state, now, number, samples_B, x_BCHW, y_B, noise_BZ, asked_B)
            self.pending.add(state.step, images, values)
            state.step += 1
            self.after_step(now, images, should_stop())

    def after_step(self, now: step.InForce, images: int, stop: bool) -> None:
        """Journal, pass the gate and save, as far as each is due; raise Stopped if asked to stop before the end."""
        state, done = self.state, self.state.step == self.length.steps
        self.saver.poll()
        images, stop, save_due = self.agreed(images, stop, state.group.leads and self.saver.due)
        epoch_ends = done or state.step % self.length.steps_per_epoch == 0
        window_ends = self.window.steps + len(self.pending) >= METRICS_STEPS
        ends = done or stop
        save = ends or save_due
        if epoch_ends or window_ends or save or len(self.pending) >= COLLECT_STEPS:
            self.pending.collect(state.good, state.group, state.epoch, self.window)
        if epoch_ends:
            self.end_epoch(now)
        elif window_ends:
            self.write_metrics(now, self.window)
        self.progress.beat(state.step, images, self.saver.activity)
        if save:
            self.save(ends)
        if stop and not done:
            raise Stopped

    def agreed(self, images: int, stop: bool, save: bool) -> tuple[int, bool, bool]:
        """What all processes go by: the images of all, and whether any of them asks to stop or to save."""
        group, untold = self.state.group, len(self.corrupt) - self.corrupt_told
        all_images, stops, saves, all_untold = group.sums([images, stop, save, untold])
        if all_untold and group.size > 1 and isinstance(self.images, FolderImages):
            for index, why in group.gather(dict(list(self.corrupt.items())[self.corrupt_told :])).items():
                self.images.leave_out(index, why)
        self.corrupt_told = len(self.corrupt)
        return int(all_images), stops > 0, saves > 0

    def end_epoch(self, now: step.InForce) -> None:
        """Journal the means over the epoch, and let its training accuracy pass the gate of the jump-start."""
        state = self.state
        accuracy = state.epoch.means()["train_accuracy"]
        self.write_metrics(now, state.epoch, collapsed=float(is_collapsed(accuracy, self.constant_accuracy())))
        if not isinstance(state.run.objective, Xent):
            jump_start = state.run.objective.jump_start
            state.passed_step = schedules.gate_passed(jump_start, accuracy, state.step, state.passed_step)
        state.epoch = Meter()

    def constant_accuracy(self) -> float:
        """Return what the best constant prediction gets of the images of the epoch that ends here: the share of their
        commonest class."""
        begun = (self.state.step - 1) // self.length.steps_per_epoch * self.length.steps_per_epoch
        samples_M = torch.cat(self.length.rest_of_epoch(begun))
        read_M = ~torch.isin(samples_M, torch.tensor(list(self.corrupt), dtype=torch.int64))
        counts_K = self.images.labels_N[samples_M[read_M]].bincount()
        return (counts_K.max() / counts_K.sum()).item()

    def write_metrics(self, now: step.InForce, meter: Meter, **others: float) -> None:
        """Journal the means of a meter; a new window begins."""
        if isinstance(self.images, FolderImages):
            others["corrupt_images"] = float(len(self.corrupt))
        self.progress.metrics(self.state.step, meter, **now.metrics(self.state.run.objective), **others)
        self.window = Meter()

    def save(self, ends: bool) -> None:
        """Begin a checkpoint; where the attempt `ends` with it, all processes wait until it is there."""
        group = self.state.group
        if group.leads:
            beat = partial(self.progress.beat, self.state.step, 0)
            self.saver.begin(beat)
            if ends:
                self.saver.finish(beat)
        if ends:
            group.sums([0])  # a meeting: who is done early would look like one that is lost


def is_collapsed(accuracy: float, constant: float) -> bool:
    """Whether an accuracy over some images is as good as that of a prediction that ignores them, `constant`.

    With 10 even classes, where a constant prediction gets 10%, up to 14.5% count as collapsed; with 1,000, up to 0.15%;
    where it gets 90%, up to 90.5%. A network that is right on all images has not collapsed; on images of one class
    nothing can.
    """
    of_right, of_wrong = COLLAPSED
    return constant < 1 and accuracy <= constant + min(of_right * constant, of_wrong * (1 - constant))
