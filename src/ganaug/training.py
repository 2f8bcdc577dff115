"""The one training loop: order, precision, averaging, randomness, history and recovery."""

from __future__ import annotations

import copy
import secrets
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import torch

from ganaug.batches import Batches
from ganaug.datasets import labelled_images
from ganaug.errors import ConfigError, DataError, RunError, ShapeError, TrainingFailedError
from ganaug.generator import Generator, Phase
from ganaug.hardware import average, keep_freed_memory, open_fabric, share_state
from ganaug.interrupts import interrupt_at_the_end
from ganaug.randomness import seeded
from ganaug.spec import LabelledImages
from ganaug.stages import Snapshot, Stage
from ganaug.stopping import Progress

__all__ = ["Snapshot", "Training", "train"]

_STATE_VERSION = 1
_STEPS_BETWEEN_GOOD_STATES = 200
_MOST_TRIES = 5


def train(
    generator: Generator,
    images: Any,
    *,
    total_images: int,
    batch_size: int = 64,
    precision: str = "auto",
    device: str = "auto",
    random_state: int | None = None,
    ema_halflife_images: float = 10_000,
    snapshot_every_images: int = 10_000,
    keep_snapshots: int = 5,
) -> Training:
    """Return a training, an iterator of `Progress`: every item is a step boundary.

    generator: trained in place; batch normalisation sees each process's share of a batch.
    images: `LabelledImages` of the generator's shape, or any map-style dataset of (image, label).
    total_images: images to see in all; training N and then N more equals training 2N.
    batch_size: images a step over all processes, unless the generator has its own.
    random_state: seeds everything; None draws a seed. The caller's own RNG is never touched.
    ema_halflife_images, snapshot_every_images, keep_snapshots: the averaged network, how often
        a copy of it is kept, and how many.

    Raises ShapeError or DataError when images and generator do not fit, ConfigError for a bad
    number, device or precision; while iterating, TrainingFailedError when losses stay
    non-finite after five retries at half the learning rate each.
    """
    if not isinstance(generator, Generator):
        raise ConfigError(
            f"train takes a built Generator; got {generator!r}. Build one with "
            "Registry.load().generators[NAME].build(config, spec)."
        )
    for name, value in (("total_images", total_images), ("batch_size", batch_size)):
        if value < 1:
            raise ConfigError(f"{name} must be at least 1; got {value}.")
    loaded = labelled_images(images).load()
    _check_fit(generator, loaded)
    return Training(
        generator,
        loaded,
        total_images=total_images,
        batch_size=batch_size,
        precision=precision,
        device=device,
        seed=secrets.randbits(48) if random_state is None else int(random_state),
        ema_halflife_images=ema_halflife_images,
        snapshot_every_images=snapshot_every_images,
        keep_snapshots=keep_snapshots,
    )


class Training(Iterator[Progress]):
    """A training in progress. Made by `train`; iterate to train, leave at any step.

    generator: the one being trained. ema: a copy of it that samples from the averaged network.
    snapshots: the last copies of the averaged weights, oldest first. images_seen: in this training;
    images_before: in the one that it goes on from, see `go_on_from`.
    """

    def __init__(
        self,
        generator: Generator,
        images: LabelledImages,
        *,
        total_images: int,
        batch_size: int,
        precision: str,
        device: str,
        seed: int,
        ema_halflife_images: float,
        snapshot_every_images: int,
        keep_snapshots: int,
    ) -> None:
        self._fabric = open_fabric(device, precision)
        if batch_size % self._fabric.world_size:
            raise ConfigError(
                f"batch_size must be a multiple of the {self._fabric.world_size} processes; "
                f"got {batch_size}."
            )
        seed = self._fabric.broadcast(seed)
        self.images = images
        self.total_images = total_images
        self.images_seen = 0
        self.images_before = 0
        self.step = 0
        self.seconds = 0.0
        self.rollbacks = 0
        self._batch_size = batch_size
        self._ema_halflife_images = ema_halflife_images
        self._snapshot_every_images = snapshot_every_images
        self._advanced_at = 0
        self._rng = torch.Generator().manual_seed(seed)
        self._batches = Batches(images, self._fabric, seed=seed)
        # Channels last is what oneDNN and tensor cores compute in; 1.5 times faster on a CPU.
        self.generator = generator.to(self.device)
        self.generator.to(memory_format=torch.channels_last)
        share_state(self.generator)
        self.snapshots: deque[Snapshot] = deque(maxlen=keep_snapshots)
        if self.device.type == "cpu":
            keep_freed_memory()
        with self._forked_rng():
            self._start_stage()
        self._good_state = self.state_dict()

    @property
    def device(self) -> torch.device:
        """Where the modules are."""
        return self._fabric.device

    @property
    def is_first_process(self) -> bool:
        """True in the process that should write files; the only one, as a rule."""
        return bool(self._fabric.is_global_zero)

    @property
    def precision(self) -> str:
        """What products are computed in, ``"32-true"`` or ``"bf16-mixed"``."""
        return str(self._fabric._precision.precision)

    @property
    def ema(self) -> Generator:
        """The generator with averaged weights, in eval mode; it goes on learning with the loop."""
        return self._stage.ema.generator

    @property
    def ending(self) -> str | None:
        """Why there is no further step, such as "1,000 images were seen"; None while there is."""
        if self.step and not self._stage.phases:
            return "there is nothing to train"
        if self.images_seen >= self.total_images:
            return f"{self.images_seen:,} images were seen"
        return None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Progress:
        """Train one step and return where that leads; StopIteration once all images were seen.

        A generator without phases has nothing to train: it is shown its images, in one step.
        A Ctrl-C during the step is raised at its end, so the state is always a whole step's.
        """
        if self.ending:
            raise StopIteration
        with interrupt_at_the_end():
            started = time.perf_counter()
            progress = None
            while progress is None:
                with self._forked_rng():
                    progress = self._try_step(started)
        return progress

    def begin(self) -> None:
        """Show the generator its images now, rather than at the first step.

        For whoever must know before a file is written whether it can start from them; nothing is
        trained, and a training that has begun stays as it is. Raises what `Generator.advance` does.
        """
        if self._images_in_all:
            return
        rng = self._rng.get_state()
        with self._forked_rng():  # seeded as the first step will be, which then is as without
            if self.generator.advance(0, self.images):
                self._start_stage()
        self._rng.set_state(rng)
        self._good_state = self.state_dict()

    def go_on_from(self, other: Training) -> None:
        """Begin with the weights that another training has reached, on other images.

        other: of a generator of the same plugin, settings and number of classes; it stays as it is.
        Taken over are its averaged network, all other modules as they are, and the count of images
        that schedules and average follow. The optimizers are new, as their moments are of other
        images and weights; so are random numbers and the order of images. Call before the first
        step.

        Raises ConfigError when this training has begun, or its generator has other layers, or
        would by now be at another stage of a schedule that follows from the number of images.
        """
        if self.step:
            raise ConfigError(
                f"A training can only go on from another before its first step; this one has done "
                f"{self.step:,}. Start a new one with train."
            )
        own = {name for name, _ in self.generator.named_buffers(recurse=False)}
        averaged = {f"network.{k}": v for k, v in other.ema.network.state_dict().items()}
        weights = {**other.generator.state_dict(), **averaged}
        state = self.generator.state_dict()
        # A generator's own buffers are where its schedule is, which follows from `advance`.
        taken = {name: tensor for name, tensor in weights.items() if name not in own}
        if {name: tensor.shape for name, tensor in taken.items()} != {
            name: tensor.shape for name, tensor in state.items() if name not in own
        }:
            raise ConfigError(
                "A training can only go on from one of the same generator: the layers of "
                f"{type(self.generator).__name__} and {type(other.generator).__name__} differ. "
                "Train without pretraining (conditioning 'conditional' or 'per-class')."
            )
        with seeded(0, self.device):
            # As `load_state_dict` does: to the stage at which the weights were.
            self.generator.advance(other._advanced_at, self.images)
            self.generator.load_state_dict(taken, strict=False)
            if self.generator.advance(other._advanced_at, self.images):
                raise ConfigError(
                    f"The pretraining ended at {other.images_seen:,} images, when a training on "
                    f"these {len(self.images):,} images would be at another stage: the schedule of "
                    f"{type(self.generator).__name__} follows from their number. Pretrain on more "
                    "images, or set the schedule in images."
                )
            self._start_stage()
        self.images_before = other._images_in_all
        self._advanced_at = other._advanced_at
        self._good_state = self.state_dict()

    @property
    def _images_in_all(self) -> int:
        """What schedules and the average follow."""
        return self.images_before + self.images_seen

    # --- one step ---------------------------------------------------------------------------

    def _try_step(self, started: float) -> Progress | None:
        """Run one step; None when a loss was not finite and the last good state was restored."""
        self._advanced_at = self._images_in_all
        if self.generator.advance(self._advanced_at, self.images):
            self._start_stage()
        batch_size = self.generator.batch_size(self._advanced_at) or self._batch_size
        records: dict[str, list[float]] = {}
        logs: dict[str, list[float]] = {}
        for phase in self._stage.phases:
            for _ in range(phase.repeats):
                loss = self._stage.optimise(phase, self._batches.draw(batch_size), rng=self._rng)
                if loss is None:
                    self._roll_back(phase)
                    return None
                for name, term in loss.terms.items():
                    records.setdefault(f"{phase.name}/{name}", []).append(float(term))
                for name, value in loss.logs.items():
                    logs.setdefault(name, []).append(float(value))
        self.images_seen += batch_size
        self.step += 1
        self._stage.ema.update(
            self.generator.network, batch_size=batch_size, images_seen=self._images_in_all
        )
        self._keep(batch_size)
        if self.rollbacks:
            logs["rollbacks"] = [self.rollbacks]
        return self._progress(records, logs, time.perf_counter() - started)

    def _progress(
        self, losses: dict[str, list[float]], logs: dict[str, list[float]], seconds: float
    ) -> Progress:
        """Average over repeats and processes: every process must reach the same decisions."""
        means = [sum(values) / len(values) for values in [*losses.values(), *logs.values()]]
        record = torch.tensor([seconds, *means], dtype=torch.float64, device=self.device)
        average([record])
        seconds, *means = record.tolist()
        self.seconds += seconds
        return Progress(
            images_seen=self.images_seen,
            step=self.step,
            epoch=self.images_seen // len(self.images),
            images_in_epoch=len(self.images),
            losses=dict(zip(losses, means, strict=False)),
            logs=dict(zip(logs, means[len(losses) :], strict=True)),
            seconds=self.seconds,
        )

    # --- what a step stands on --------------------------------------------------------------

    def _start_stage(self) -> None:
        """Read the generator's phases and start the average from its network as it is."""
        self._stage = Stage(
            self.generator, self._fabric, ema_halflife_images=self._ema_halflife_images
        )
        self.snapshots.clear()

    @contextmanager
    def _forked_rng(self) -> Iterator[None]:
        """Seed torch's global RNG for one step, from the training's own; the caller's is kept.

        Processes get different seeds, so that dropout differs between their images.
        """
        seed = int(torch.randint(2**62, (1,), generator=self._rng))
        with seeded(seed + self._fabric.global_rank, self.device):
            yield

    def _keep(self, batch_size: int) -> None:
        """Keep a snapshot and a state to go back to, where it is time."""
        every = self._snapshot_every_images
        if self.images_seen // every > (self.images_seen - batch_size) // every:
            self.snapshots.append(self._stage.snapshot(self.images_seen))
        if self.step % _STEPS_BETWEEN_GOOD_STATES == 0 and self._stage.is_finite():
            self._good_state = self.state_dict()

    def _roll_back(self, phase: Phase) -> None:
        """Restore the last good state with half the learning rate of the last try from there."""
        rollbacks, seconds = self.rollbacks + 1, self.seconds
        failed_at = self.images_seen
        self.load_state_dict(self._good_state)
        tries = rollbacks - self.rollbacks
        if tries > _MOST_TRIES:
            raise TrainingFailedError(
                f"The loss of phase {phase.name!r} was not finite at {failed_at:,} images, after "
                f"{_MOST_TRIES} retries at half the learning rate each. Gave up; the state "
                f"of {self.images_seen:,} images is kept. Try a lower learning rate or "
                "precision='32-true'."
            )
        self._stage.slow_down(0.5**tries)
        self.rollbacks, self.seconds = rollbacks, seconds

    # --- state ------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of everything that going on needs: tensors, numbers, lists and dicts."""
        return copy.deepcopy(
            {
                "version": _STATE_VERSION,
                "images_seen": self.images_seen,
                "images_before": self.images_before,
                "step": self.step,
                "seconds": self.seconds,
                "rollbacks": self.rollbacks,
                "advanced_at": self._advanced_at,
                "sampler": self._batches.state_dict(),
                "rng": self._rng.get_state(),
                **self._stage.state_dict(),
                "snapshots": [
                    {"images_seen": s.images_seen, "weights": dict(s.weights)}
                    for s in self.snapshots
                ],
            }
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of the same generator and images, bit for bit on the CPU.

        Should a later loss not be finite, this is the state to go back to.

        Raises RunError when the state is another version's or another generator's.
        """
        if state.get("version") != _STATE_VERSION:
            raise RunError(
                f"This training state has version {state.get('version')}; expected "
                f"{_STATE_VERSION}. Use the version of ganaug that wrote it."
            )
        with seeded(0, self.device):
            # Brings a generator that grows to the stage at which the state was taken.
            self.generator.advance(state["advanced_at"], self.images)
            self._start_stage()
        self._stage.load_state_dict(state)
        self.images_seen, self.step = state["images_seen"], state["step"]
        self.images_before = state.get("images_before", 0)  # earlier versions had none
        self.seconds, self.rollbacks = state["seconds"], state["rollbacks"]
        self._advanced_at = state["advanced_at"]
        self._batches.load_state_dict(state["sampler"])
        self._rng.set_state(state["rng"].cpu())
        for kept in state["snapshots"]:
            self.snapshots.append(Snapshot(kept["images_seen"], copy.deepcopy(kept["weights"])))
        self._good_state = self.state_dict()


def _check_fit(generator: Generator, images: LabelledImages) -> None:
    wanted, found = generator.spec, images.spec
    if wanted.shape != found.shape:
        raise ShapeError(
            f"The generator makes images of {wanted.shape} (channels, height, width); the "
            f"training images are {found.shape}. Resize with LabelledImages.load(size)."
        )
    if wanted.num_classes != found.num_classes:
        raise DataError(
            f"The generator has {wanted.num_classes} class(es), the training images have "
            f"{found.num_classes}. Build it for the images' own spec, or drop the classes with "
            "LabelledImages.as_one_class()."
        )
