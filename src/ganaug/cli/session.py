"""The trainings of a run: with checkpoints, to the end or until Ctrl-C, and what is written."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ganaug.cli.console import status
from ganaug.cli.exports import folder_names
from ganaug.cli.interrupts import Interrupts
from ganaug.cli.progress import Budget, Report, open_report
from ganaug.cli.sheets import StageSheets, write_grid
from ganaug.cli.summary import print_interruption, print_result
from ganaug.cli.tensorboard import EventFiles
from ganaug.errors import TrainingFailedError
from ganaug.fitting import copies_of, fit_part, make_model, plan_validations, start_training
from ganaug.model import Source
from ganaug.parts import Part, time_share, total_images
from ganaug.recipes import Recipe, policies_of
from ganaug.registry import Registry
from ganaug.runs import Run
from ganaug.selection import Ending
from ganaug.stopping import History, first_reason
from ganaug.validation import DEFAULT_EVAL_EVERY

if TYPE_CHECKING:
    from ganaug.copies import CopyGate
    from ganaug.selection import Choice
    from ganaug.spec import LabelledImages
    from ganaug.stopping import Progress, StoppingPolicy
    from ganaug.training import Training
    from ganaug.validation import Validation

__all__ = ["Session"]

_INTERRUPTED = 3
_SECONDS_BETWEEN_CHECKPOINTS = 60.0


@dataclass(slots=True)
class _PartState:
    """A part, its training and what was recorded of it."""

    part: Part
    training: Training
    history: History
    validation: Validation | None
    policies: list[StoppingPolicy]
    steps: int = 0  # trained by this command
    seconds: float = 0.0  # trained by others, before


class Session:
    """The trainings of a run, and what is written of them.

    rows: of the run's classes by split, loaded. tensorboard: whether to write event files too.
    known: training rows of all classes, which filters learn from; see `rows_for_filters`.
    pretraining_rows: validation rows of a pretraining; see `plan_validations`.
    Raises ConfigError for a device or precision that this machine lacks, and what
    `plan_validations` raises.
    """

    def __init__(
        self,
        run: Run,
        rows: Mapping[str, LabelledImages],
        parts: Sequence[Part],
        registry: Registry,
        device: str = "auto",
        *,
        tensorboard: bool = False,
        known: LabelledImages | None = None,
        pretraining_rows: LabelledImages | None = None,
    ) -> None:
        self.run = run
        self.images, self.holdout = rows["training"], rows["holdout"]
        self._tensorboard, self._known, self._registry = tensorboard, known, registry
        self.recipe: Recipe = run.config.recipe
        policies = [policies_of(self.recipe, registry, time_share(part, parts)) for part in parts]
        validations = plan_validations(
            *(self.images, rows["validation"], parts, policies[0], self.recipe, registry),
            tell=_warn,
            pretraining_rows=pretraining_rows,
        )
        trainings = [start_training(part, self.recipe, device=device) for part in parts]
        self.states = [
            _PartState(part, training, History(), scored, own)
            for part, training, scored, own in zip(
                parts, trainings, validations, policies, strict=True
            )
        ]
        self.choices: Sequence[Choice] = ()  # of weights, once all have ended
        self.void: list[int | None] = []  # parts that begin anew, whatever the run has of them
        self._saved_at = time.monotonic()

    def begin(self) -> None:
        """Show generators their images, so that what they refuse is said before files are written.

        Raises what `Generator.advance` raises.
        """
        for state in self.states:
            if self._pretrained(state) is None:
                state.training.begin()

    def restore(self) -> None:
        """Go back to the last checkpoints, but of `void`. Raises RunError when they are damaged."""
        for state in self.states:
            pretrained = self._pretrained(state)
            if pretrained is not None and self._reason(pretrained) is None:
                # It goes on, as with more images: what was fine-tuned from it so far is void.
                self.void.append(state.part.index)
                continue
            saved = self.run.read_checkpoint(state.part.index)
            if saved is not None:
                state.training.load_state_dict(saved)
                state.seconds = state.training.seconds
                if state.validation is not None:
                    state.validation.load_state_dict(saved["validation"])
            step = state.training.step
            state.history = self.run.read_history(state.part.index, until_step=step)

    def nothing_to_do(self) -> bool:
        """Say whether every part has reached its end and the run is complete."""
        complete = (self.run.path / "manifest.json").exists()
        return complete and all(self._reason(state) is not None for state in self.states)

    def reasons(self) -> str:
        """Return why each part ended, as a clause."""
        found = [self._ended(state) for state in self.states]
        if len(set(found)) == 1:
            return found[0]
        return "; ".join(
            f"{state.part.name}: {reason}" for state, reason in zip(self.states, found, strict=True)
        )

    def complete(self) -> int:
        """Train to the end and write everything; return the exit code.

        Ctrl-C, and losses that stay non-finite, save a checkpoint and say how to go on.
        """
        try:
            self._train()
            with status("Drawing samples"):
                self._finish()
        except KeyboardInterrupt:
            seen = sum(state.training.images_seen for state in self.states)
            print_interruption(self.run, f"Interrupted at {seen:,} images; saved in")
            return _INTERRUPTED
        except TrainingFailedError as error:
            print_interruption(self.run, f"{error} Saved in")
            return _INTERRUPTED
        print_result(self)
        return 0

    def _train(self) -> None:
        if self._tensorboard:  # sample grids show no copies; made once, for all parts
            with status("Looking at training images"):
                _ = self._gate
        with open_report() as report, Interrupts() as interrupts:
            for number, state in enumerate(self.states, start=1):
                report.start(self._label(number, state.part), self._budget(state.part))
                self._train_part(state, report, interrupts)

    def _pretrained(self, state: _PartState) -> _PartState | None:
        """Return what a part goes on from, if it is fine-tuned."""
        return self.states[0] if state.part.role == "fine-tuning" else None

    def _label(self, number: int, part: Part) -> str:
        if len(self.states) > 1:
            return f"{part.name} {number}/{len(self.states)}"
        names = self.run.config.class_names
        return names[0] if len(names) == 1 else "all classes"

    def _train_part(self, state: _PartState, report: Report, interrupts: Interrupts) -> None:
        if reason := self._reason(state):
            report.end(reason)
            return

        board = self._open_board(state)
        pretrained, index = self._pretrained(state), state.part.index
        sheets = StageSheets(
            self.run.part_folder(index) / "samples",
            state.training,
            state.history[-1] if state.history else None,
            lambda: self._gate,
        )

        def on_step(progress: Progress) -> None:
            state.steps += 1
            self.run.append_history(index, progress)
            report.update(progress)
            if sheet := sheets.update(progress):
                report.say(f"a stage ended; look at {sheet}")
            if board is not None:
                board.update(progress)
            if time.monotonic() - self._saved_at > _SECONDS_BETWEEN_CHECKPOINTS:
                self._save(state)
                report.saved()
            interrupts.check()

        try:
            reason = fit_part(
                state.training,
                state.policies,
                history=state.history,
                validation=state.validation,
                pretrained=None if pretrained is None else pretrained.training,
                on_step=on_step,
            )
        finally:
            if state.steps:
                self._save(state)
            if board is not None:
                board.close()
        report.end(reason)
        interrupts.check()

    @cached_property
    def _gate(self) -> CopyGate:
        """What keeps copies of training images out of sheets of samples; made when it is needed."""
        return copies_of([state.part for state in self.states])

    def _open_board(self, state: _PartState) -> EventFiles | None:
        """Return what writes event files of a part; None when nobody asked for them."""
        if not self._tensorboard:
            return None
        folder = self.run.path / "tensorboard"
        if state.part.index is not None:
            folder /= folder_names(self.run.config.class_names)[state.part.name]
        every = self.recipe.eval_every or DEFAULT_EVAL_EVERY
        return EventFiles(folder, state.training, every=every, gate=self._gate)

    def _finish(self) -> None:
        """Write the model, sample sheet, card and manifest."""
        trainings = [state.training for state in self.states]
        parts = [state.part for state in self.states]
        scored = [state.validation for state in self.states]
        model = make_model(
            *(self.images, parts, trainings, self.recipe),
            validations=scored,
            holdout=self.holdout,
            rows=self._known,
            source=Source(self.recipe.generator, self.recipe.settings),
            endings=[Ending(state.history, self._ended(state)) for state in self.states],
            registry=self._registry,
        )
        self.choices = model.choices
        if model.memorisation is not None and model.memorisation.flagged:
            _warn(
                f"{self.run.path} has memorised training images: {model.memorisation}. ganaug "
                "augment will refuse it; fit on more images, or for less long."
            )
        self.run.write_model(model)
        write_grid(self.run.path / "samples" / "grid.png", model)
        self.run.write_card(model)
        self.run.seal()

    def _ended(self, state: _PartState) -> str:
        return self._reason(state) or "stopped early"

    def _reason(self, state: _PartState) -> str | None:
        """Return why a part is at its end, or None."""
        return first_reason(state.policies, state.history) or state.training.ending

    def _budget(self, part: Part) -> Budget:
        """Return how much a part trains."""
        minutes, parts = self.recipe.minutes, [state.part for state in self.states]
        seconds = minutes * 60 * time_share(part, parts) if minutes else None
        return Budget(total_images(self.recipe, part), seconds)

    def _save(self, state: _PartState) -> None:
        saved = state.training.state_dict()
        if state.validation is not None:
            saved["validation"] = state.validation.state_dict()
        self.run.write_checkpoint(state.part.index, saved)
        self._saved_at = time.monotonic()


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=2)
