"""What a benchmark compares: a study, its arms and its budgets, as frozen data."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from ganaug.errors import ConfigError, nearest

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["ARMS", "Arm", "Budget", "Reported", "Study"]

#: How pydantic reads the dataclasses below from a file: as they are written, or not at all.
_STRICT = {"extra": "forbid", "strict": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One treatment of the training set, such as ``oversample`` or ``classical+synthetic``.

    sampling: how rows are drawn into batches: as they are, every class equally often, or from a
        set in which every class was cut to the smallest.
    class_weights: whether the loss weighs classes by the inverse of how often they are drawn.
    classical: whether the study's classical augmentation is applied.
    mixup: alpha of MixUp's Beta(alpha, alpha) (Zhang et al. 2018); 0 for none.
    synthetic: synthetic images beside the real ones, drawn like any other ("natural") or as at
        most half of a class ("oversample"); instead of the real ones of their classes; before
        them, for the first half of the steps, after which there are real images alone; or none.
    """

    __pydantic_config__ = _STRICT

    name: str
    summary: str
    sampling: Literal["natural", "oversample", "downsample"] = "natural"
    class_weights: bool = False
    classical: bool = False
    mixup: float = 0.0
    synthetic: Literal["none", "beside", "only", "before"] = "none"

    @property
    def needs_generator(self) -> bool:
        """Whether a generator has to be trained for it."""
        return self.synthetic != "none"

    @property
    def adds_images(self) -> bool:
        """Whether it has synthetic images and all the real ones, too, so that it is a remedy."""
        return self.synthetic in ("beside", "before")

    def __add__(self, other: Arm) -> Arm:
        """Return both treatments as one. Raises ConfigError where they contradict each other."""
        return Arm(
            name=f"{self.name}+{other.name}",
            summary=f"{self.summary} {other.summary}",
            sampling=_either(self, other, "sampling", "natural"),
            class_weights=self.class_weights or other.class_weights,
            classical=self.classical or other.classical,
            mixup=_either(self, other, "mixup", 0.0),
            synthetic=_either(self, other, "synthetic", "none"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much is computed: in folds, steps and images, never in minutes, so that it repeats.

    folds, repeats: of the cross-validation. steps: optimiser steps of each classifier, the same
    for every arm; batch_size: images a step. generator_images: training images that a generator
    sees in each fold; generator_size, settings: of the generator, in place of the study's, such as
    a schedule for so many images. fractions: of the training groups, for curves by training size.
    """

    __pydantic_config__ = _STRICT

    folds: int = 5
    repeats: int = 5
    steps: int = 2_000
    batch_size: int = 64
    generator_images: int = 100_000
    generator_size: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    fractions: tuple[float, ...] = (1.0,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A figure of the paper that a study follows: printed beside ours, never mixed with it.

    arm: of which it is a measure; or network: what else it is of, and then `measure` may be any
    words. "parameters" and "minutes" of the study's own generator, by its name, have ours beside
    them, and so have the scores of `Study.extras`.

    Raises ConfigError where it is of both, or of nothing.
    """

    __pydantic_config__ = _STRICT

    arm: str = ""
    network: str = ""
    measure: str
    value: float

    def __post_init__(self) -> None:
        if bool(self.arm) == bool(self.network):
            raise ConfigError(
                f"A reported {self.measure} is of an arm or of a network; got "
                f"{self.arm or 'no arm'} and {self.network or 'no network'}."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A comparison of arms under one protocol.

    arms: the treatments. classes: label to class of the task, in the order of the classes. Images
        of other labels are left out, labels that there are no images of are passed over, so that
        one study suits several image sets; None keeps all as they are.
    rare: the classes that get synthetic images; empty for all but the largest.
    size: pixels a side that classifiers see; None for the images' own. channels: 1 turns colours
        to grey for the classifier; None for the images' own.
    generator, settings, generator_size, conditioning, filters: what is trained in each fold.
    classifier: its name. learning_rate: of Adam.
    classical: the arguments of the classical augmentation, by name; a mild set if there are none.
    ratios: candidates for how many synthetic images a rare class gets; one is chosen on the
        validation part. ratio_of: "gap": 1 grows a class to the largest; "class": 1 doubles it.
    validation: the fraction of each training part on which ratio, length of training and
        operating threshold are chosen.
    measure: what arms are compared by. specificity: at which sensitivity is read.
    small, full: the budgets. reported: the paper's figures. paper: where they are from.
    extras: metrics, as `ganaug evaluate` has them, of what the first generator makes.

    Raises ConfigError when it has no arms or two of one name.
    """

    __pydantic_config__ = _STRICT

    name: str
    summary: str
    arms: tuple[Arm, ...]
    classes: Mapping[str, str] | None = None
    rare: tuple[str, ...] = ()
    size: int | None = None
    channels: Literal[1, 3] | None = None
    generator: str = "dcgan"
    settings: Mapping[str, str] = field(default_factory=dict)
    generator_size: int | None = None
    conditioning: str | None = None
    filters: tuple[str, ...] = ("copies",)
    classifier: str = "small-cnn"
    learning_rate: float = 1e-3
    classical: Mapping[str, float | bool | tuple[float, float]] = field(default_factory=dict)
    ratios: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0, 1.5)
    ratio_of: Literal["gap", "class"] = "gap"
    validation: float = 0.2
    measure: str = "balanced_accuracy"
    specificity: float = 0.9
    small: Budget = Budget(folds=3, repeats=2, steps=600, generator_images=20_000)
    full: Budget = Budget()
    reported: tuple[Reported, ...] = ()
    paper: str = ""
    extras: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        if not names or len(set(names)) < len(names):
            raise ConfigError(
                f"Study {self.name!r} needs one or more arms of different names; "
                f"got {', '.join(names) or 'none'}."
            )

    @classmethod
    def from_toml(cls, path: Traversable) -> Self:
        """Read a study from a TOML file: its fields, with arms as names, or as tables.

        Raises ConfigError that names the file and the field.
        """
        from pydantic import TypeAdapter, ValidationError

        try:
            fields = tomllib.loads(path.read_text(encoding="utf-8"))
            arms = fields.get("arms", [])
            fields["arms"] = [_as_table(arm) if isinstance(arm, str) else arm for arm in arms]
            return TypeAdapter(cls).validate_json(json.dumps(fields))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise ConfigError(f"The study {path}: {where}: {first['msg']}.") from error
        except (OSError, TypeError, ValueError) as error:
            raise ConfigError(f"Cannot read the study {path}: {error}") from error

    @property
    def partners(self) -> dict[str, str]:
        """By the name of an arm with synthetic images: the arm that is the same but for these.

        A difference between the two is due to the images. Arms without such a partner are absent,
        and so are those that have lost their real images.
        """
        plain = {_treatment(arm): arm.name for arm in self.arms if not arm.needs_generator}
        asked = {
            arm.name: _treatment(replace(arm, synthetic="none"))
            for arm in self.arms
            if arm.adds_images
        }
        return {name: plain[treatment] for name, treatment in asked.items() if treatment in plain}

    def with_arms(self, names: tuple[str, ...], known: Mapping[str, Arm] | None = None) -> Study:
        """Return the study with these arms: its own, known ones, or sums such as ``a+b``.

        known: by name; `ARMS` unless given. Raises ConfigError for an unknown name.
        """
        known = {**(ARMS if known is None else known), **{arm.name: arm for arm in self.arms}}
        return replace(self, arms=tuple(_find(name, known) for name in names))


def _treatment(arm: Arm) -> tuple[object, ...]:
    """Return what an arm does, whatever it is called."""
    return tuple(v for k, v in asdict(arm).items() if k not in ("name", "summary"))


def _find(name: str, known: Mapping[str, Arm]) -> Arm:
    """Return the arm of that name, or the sum of those that it names."""
    parts = [name] if name in known else name.split("+")
    for part in parts:
        if part not in known:
            raise ConfigError(
                f"There is no arm {part!r}.{nearest(part, known)} Choose from "
                f"{', '.join(sorted(known))}, or several joined with +."
            )
    found = known[parts[0]]
    for part in parts[1:]:
        found = found + known[part]
    return found


def _as_table(name: str) -> dict[str, Any]:
    return asdict(_find(name, ARMS))


def _either(one: Arm, other: Arm, name: str, nothing: str | float) -> Any:
    """Return the value of whichever arm has one."""
    values = {getattr(arm, name) for arm in (one, other)} - {nothing}
    if len(values) > 1:
        raise ConfigError(
            f"Arms {one.name!r} and {other.name!r} cannot be combined: both set {name}, to "
            f"{getattr(one, name)} and {getattr(other, name)}."
        )
    return values.pop() if values else nothing


_CLASSICAL = Arm(
    name="classical",
    summary="Every image is turned, moved and brightened at random, as the study says.",
    classical=True,
)
_SYNTHETIC = Arm(
    name="synthetic",
    summary="Synthetic images of the rare classes are added to the real ones.",
    synthetic="beside",
)

_ALL = (
    Arm(name="untreated", summary="The training images as they are."),
    Arm(
        name="downsample",
        summary="Every class is cut to as many images as the smallest has.",
        sampling="downsample",
    ),
    Arm(
        name="oversample",
        summary="Every class is drawn equally often, so that rare images repeat.",
        sampling="oversample",
    ),
    Arm(
        name="class-weights",
        summary="The loss weighs a class by the inverse of how often it is drawn.",
        class_weights=True,
    ),
    _CLASSICAL,
    Arm(
        name="mixup",
        summary="Images and labels are mixed in pairs (Zhang et al. 2018).",
        mixup=0.2,  # section 3.1: 0.1 to 0.4; more underfits
    ),
    _SYNTHETIC,
    _CLASSICAL + _SYNTHETIC,
    Arm(
        name="synthetic-only",
        summary="Synthetic images instead of the real ones (Ravuri and Vinyals 2019).",
        synthetic="only",
    ),
    Arm(
        name="warm-start",
        summary="Half of the steps are on synthetic images, the other half on the real ones.",
        synthetic="before",
    ),
)

#: By name. Others are sums of these, such as ``oversample+classical+synthetic``.
ARMS: Final[Mapping[str, Arm]] = MappingProxyType({arm.name: arm for arm in _ALL})
