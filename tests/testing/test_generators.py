"""Each check of generators is failed by a plugin that breaks that promise, and only by that."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganaug import Config, Generator, GeneratorPlugin, Loss, Phase, Registry, __version__
from ganaug.errors import ConfigError, PluginError, ShapeError
from ganaug.testing import CheckFailedError, checks_for, parametrize_checks
from ganaug.testing.generators import CHECKS


class GoodConfig(Config):
    width: int = 8


class Good(Generator):
    """A small conditional GAN for 16 x 16 images, which keeps every promise."""

    def __init__(self, config, spec):
        super().__init__()
        if spec.shape[1:] != (16, 16) or spec.channels not in (1, 3):
            raise ShapeError(f"makes 16x16 images; got {spec.shape}. Resize with size=16.")
        self.spec = spec
        self.network = nn.Sequential(
            nn.Linear(8 + spec.num_classes, config.width * 64),
            nn.ReLU(),
            nn.Unflatten(1, (config.width, 8, 8)),
            nn.ConvTranspose2d(config.width, spec.channels, 4, 2, 1),
            nn.Tanh(),
        )
        self.critic = nn.Sequential(
            nn.Conv2d(spec.channels, 8, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(128, 1)
        )

    def make(self, z: Tensor, labels: Tensor) -> Tensor:
        one_hot = nn.functional.one_hot(labels, self.spec.num_classes)
        return self.network(torch.cat([z, one_hot.to(z)], dim=1))

    def phases(self):
        for name, module, loss in (
            ("discriminator", self.critic, self.critic_loss),
            ("generator", self.network, self.network_loss),
        ):
            yield Phase(name, module, torch.optim.Adam(module.parameters(), lr=1e-3), loss)

    def critic_loss(self, batch, rng):
        fake = self.make(batch.randn(8, rng=rng), batch.labels).detach()
        softplus = nn.functional.softplus
        loss = softplus(-self.critic(batch.images)) + softplus(self.critic(fake))
        return Loss({"adversarial": loss.mean()})

    def network_loss(self, batch, rng):
        fake = self.make(batch.randn(8, rng=rng), batch.labels)
        return Loss({"adversarial": nn.functional.softplus(-self.critic(fake)).mean()})

    def sample(self, labels, *, rng):
        return self.make(torch.randn(len(labels), 8, generator=rng), labels)

    def score(self, images, labels):
        return self.critic(images).squeeze(1)


class ForgetsAField(GoodConfig):
    def to_fields(self):
        return {"width": self.width + 1}


class BuildsAnything(Good):
    def __init__(self, config, spec):
        try:
            super().__init__(config, spec)
        except ShapeError as error:
            raise RuntimeError("size") from error


class BuildsDoubles(Good):
    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.scale = nn.Parameter(torch.ones(1, dtype=torch.float64), requires_grad=False)


class BuildsElsewhere(Good):
    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.to("meta")


class TooBright(Good):
    def sample(self, labels, *, rng):
        return 3 * super().sample(labels, rng=rng)


class Unlimited(Good):
    """In range as long as its weights are small."""

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.network[-1] = nn.Hardtanh(-1e9, 1e9)


class OneForAll(Good):
    def sample(self, labels, *, rng):
        images = super().sample(labels, rng=rng)
        return images if len(labels) < 20 else images[:1].expand(len(labels), -1, -1, -1)


class IgnoresLabels(Good):
    def make(self, z, labels):
        return super().make(z, torch.zeros_like(labels))


class MergesTwo(Good):
    """Classes 1 and 2 are one to it."""

    def make(self, z, labels):
        return super().make(z, labels.clamp(max=1))


class FollowsTheFirst(Good):
    """Every image of a batch is of the first one's class."""

    def sample(self, labels, *, rng):
        return super().sample(labels[:1].expand_as(labels), rng=rng)


class MovesAllByTheMean(Good):
    """An image follows from the labels of the others too."""

    def sample(self, labels, *, rng):
        images = super().sample(labels, rng=rng)
        return images * (0.5 + 0.1 * labels.float().mean()) if len(labels) else images


class ScoresAColumn(Good):
    def score(self, images, labels):
        return self.critic(images)


class ScoresNoNumbers(Good):
    def score(self, images, labels):
        return super().score(images, labels).log().log()


class ScoresTheBatch(Good):
    def score(self, images, labels):
        scores = super().score(images, labels)
        return scores - scores.mean()


class ScoresSeveral(Good):
    def score(self, images, labels):
        return super().score(images, labels) if len(images) > 1 else None


class KeepsAMappingOutside(Good):
    """Samples pass through a layer that is not of `network`."""

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.mapping = nn.Linear(8, 8)

    def make(self, z, labels):
        return super().make(self.mapping(z), labels)


class CrashesOnClasses(Good):
    """Does one class at a time, and does not say so."""

    def __init__(self, config, spec):
        super().__init__(config, spec)
        if spec.num_classes > 1:
            raise KeyError("embedding")


class OwnNumbers(Good):
    """Draws as if nobody had given it random numbers."""

    def sample(self, labels, *, rng):
        return super().sample(labels, rng=torch.Generator().manual_seed(len(labels)))


class GlobalNumbers(Good):
    def sample(self, labels, *, rng):
        torch.rand(1)
        return super().sample(labels, rng=rng)


class NumPyNumbers(Good):
    def sample(self, labels, *, rng):
        np.random.rand()  # noqa: NPY002  # the fault
        return super().sample(labels, rng=rng)


class PythonNumbers(Good):
    def sample(self, labels, *, rng):
        random.random()
        return super().sample(labels, rng=rng)


class StepsBoth(Good):
    """Its critic's optimizer has the generator's parameters too."""

    def phases(self):
        critic, generator = super().phases()
        everything = torch.optim.Adam(self.parameters(), lr=1e-3)
        yield Phase("discriminator", self.critic, everything, critic.loss)
        yield generator


class StepsNothing(Good):
    def phases(self):
        critic, generator = super().phases()
        still = torch.optim.Adam(self.critic.parameters(), lr=0.0)
        yield Phase("discriminator", self.critic, still, critic.loss)
        yield generator


class StepsBothLater(StepsBoth):
    """Steps each its own until a second stage begins."""

    later = False

    def advance(self, images_seen, images):
        began, self.later = self.later, images_seen >= 1_000
        return self.later != began

    def phases(self):
        return super().phases() if self.later else Good.phases(self)


class LogsNoNumber(Good):
    def critic_loss(self, batch, rng):
        return Loss(super().critic_loss(batch, rng).terms, {"d_accuracy": torch.tensor(torch.nan)})


class NeverFinite(Good):
    def critic_loss(self, batch, rng):
        loss = super().critic_loss(batch, rng)
        return Loss({name: term * torch.nan for name, term in loss.terms.items()})


class KeepsWeightsAside(Good):
    """What it multiplies images by is learned, is no parameter or buffer, and is not averaged."""

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.gain = 1.0

    def critic_loss(self, batch, rng):
        self.gain = 1.0 - 0.1 * float(batch.images.mean().abs())
        return super().critic_loss(batch, rng)

    def sample(self, labels, *, rng):
        return self.gain * super().sample(labels, rng=rng)


class CountsSteps(Good):
    """The strength of a penalty follows from a count that no checkpoint has."""

    steps = 0

    def critic_loss(self, batch, rng):
        self.steps += 1
        loss = super().critic_loss(batch, rng)
        return Loss({"adversarial": loss.terms["adversarial"] * self.steps})


class StaysHere(Good):
    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.name_of = lambda label: spec.class_names[label]


BROKEN = {
    "config-round-trip": (Good, ForgetsAField),
    "refuses-what-it-cannot-do": (BuildsAnything, GoodConfig),
    "shape-dtype-and-range": (TooBright, GoodConfig),
    "any-number-of-samples": (OneForAll, GoodConfig),
    "labels-as-asked": (IgnoresLabels, GoodConfig),
    "scores-each-image-by-itself": (ScoresAColumn, GoodConfig),
    "a-run-keeps-what-samples-need": (KeepsAMappingOutside, GoodConfig),
    "same-numbers-same-images": (OwnNumbers, GoodConfig),
    "leaves-the-global-rng-alone": (GlobalNumbers, GoodConfig),
    "phases-own-their-parameters": (StepsBoth, GoodConfig),
    "finite-losses": (LogsNoNumber, GoodConfig),
    "resumes-bit-for-bit": (CountsSteps, GoodConfig),
    "travels-to-workers": (StaysHere, GoodConfig),
}
ALSO = [
    ("shape-dtype-and-range", Unlimited),
    ("labels-as-asked", CrashesOnClasses),
    ("labels-as-asked", MergesTwo),
    ("labels-as-asked", FollowsTheFirst),
    ("labels-as-asked", MovesAllByTheMean),
    ("scores-each-image-by-itself", ScoresNoNumbers),
    ("scores-each-image-by-itself", ScoresTheBatch),
    ("scores-each-image-by-itself", ScoresSeveral),
    ("leaves-the-global-rng-alone", NumPyNumbers),
    ("leaves-the-global-rng-alone", PythonNumbers),
    ("phases-own-their-parameters", StepsNothing),
    ("phases-own-their-parameters", StepsBothLater),
    ("weights-round-trip", KeepsWeightsAside),
    ("builds-on-the-cpu", BuildsDoubles),
]


def plugin(build=Good, config=GoodConfig) -> GeneratorPlugin:
    return GeneratorPlugin(name="mine", summary="Mine.", config=config, build=build)


def failed(record: GeneratorPlugin, **options) -> list[str]:
    return [check.name for check in checks_for(record, **options) if not check.result().passed]


@parametrize_checks(plugin())
def test_a_good_generator_passes(check):
    check()


class Still(Good):
    """Has nothing to train."""

    def phases(self):
        return ()


def test_a_generator_with_nothing_to_train_passes():
    assert failed(plugin(Still)) == []


@pytest.mark.parametrize(
    ("name", "build", "config"),
    [
        *((name, *made) for name, made in BROKEN.items()),
        *((name, build, GoodConfig) for name, build in ALSO),
    ],
)
def test_a_broken_generator_fails_that_check_and_only_it(name, build, config):
    assert failed(plugin(build, config)) == [name]


def test_every_check_is_proved_by_a_broken_generator():
    assert set(CHECKS) == {*BROKEN, *(name for name, _ in ALSO)}


def test_a_generator_on_another_device_than_the_cpu_is_told_so():
    reasons = [check.result().reason for check in checks_for(plugin(BuildsElsewhere))]
    assert any("was built on meta; leave devices to the training loop" in str(r) for r in reasons)


def test_what_is_built_must_be_a_generator():
    reasons = [check.result().reason for check in checks_for(plugin(lambda config, spec: None))]
    wanted = "'mine' fails 'builds-on-the-cpu': build returned None; expected a ganaug.Generator"
    assert any(wanted in str(reason) for reason in reasons)
    assert all("raised CheckFailedError" not in str(each) for each in reasons)
    assert any("fails 'labels-as-asked': build returned None" in str(each) for each in reasons)


def test_a_training_that_never_gets_going_fails_whatever_trains():
    assert "finite-losses" in failed(plugin(NeverFinite))


def test_a_failure_names_the_plugin_its_owner_and_the_check():
    checks = {check.name: check for check in checks_for(plugin(TooBright), owner="ganaug-mine 1.0")}
    wanted = (
        r"GeneratorPlugin 'mine' of ganaug-mine 1\.0 fails 'shape-dtype-and-range': pixels are in "
        r"\[.*\]; expected \[-1, 1\]"
    )
    with pytest.raises(CheckFailedError, match=wanted):
        checks["shape-dtype-and-range"]()


def test_an_expected_failure_must_fail():
    mark = parametrize_checks(plugin(), expected_failures={"finite-losses": "it diverges"}).mark
    (marked,) = [param for param in mark.args[1] if param.marks]
    assert marked.id == "finite-losses"
    assert marked.marks[0].kwargs == {"reason": "it diverges", "strict": True}


def test_an_expected_failure_of_no_check_is_an_error():
    with pytest.raises(ConfigError, match="no check 'finite-loss'. Did you mean 'finite-losses'"):
        parametrize_checks(plugin(), expected_failures={"finite-loss": "it diverges"})


class ForLarge(Good):
    """Does one size, which no check tries of itself."""

    def __init__(self, config, spec):
        if spec.shape[1:] != (48, 48):
            raise ShapeError(f"makes 48x48 images; got {spec.shape}. Resize with size=48.")
        super().__init__(config, replace(spec, height=16, width=16))
        self.spec = spec
        self.critic = nn.Sequential(nn.AdaptiveAvgPool2d(16), *self.critic)
        self.network.insert(4, nn.Upsample(scale_factor=3))


def test_a_size_that_no_check_tries_of_itself_can_be_given():
    assert failed(plugin(ForLarge), size=48) == []
    [result] = [
        check.result() for check in checks_for(plugin(ForLarge)) if check.name == "finite-losses"
    ]
    assert "builds for no size of 16, 32, 28, 64, 8, 128 with 1 or 3 channels" in result.reason
    assert "--size PIXELS. It says: makes 48x48 images" in result.reason


def test_an_expected_failure_needs_a_reason():
    with pytest.raises(ConfigError, match="'finite-losses' needs a reason; got ''"):
        parametrize_checks(plugin(), expected_failures={"finite-losses": ""})


class OptionalWithADefault(GoodConfig):
    batch_size: int | None = 16


def test_a_field_that_may_be_none_is_none_unless_set():
    [check] = [c for c in checks_for(plugin(config=OptionalWithADefault)) if "config" in c.name]
    assert "'batch_size' may be None and is 16 unless set" in check.result().reason


def test_a_plugin_that_leaves_the_program_fails_its_checks():
    results = [check.result() for check in checks_for(plugin(lambda config, spec: sys.exit(3)))]
    assert any("it raised SystemExit: 3" in str(result.reason) for result in results)


def test_fields_that_are_needed_are_asked_for_once():
    class NeedsWidth(GoodConfig):
        width: int

    message = r"^The checks of 'mine' need values of width: .* the command line --set width=\.\.\.$"
    with pytest.raises(ConfigError, match=message):
        parametrize_checks(plugin(config=NeedsWidth))


def test_a_bad_setting_is_refused_once():
    with pytest.raises(ConfigError, match="GoodConfig has no field 'widht'"):
        checks_for(plugin(), settings={"widht": 8})


def test_a_config_that_breaks_on_good_fields_is_said_to():
    class Breaks(GoodConfig):
        @classmethod
        def from_fields(cls, fields):
            raise KeyError("width")

    with pytest.raises(PluginError, match="The config of 'mine' raised KeyError: 'width'"):
        checks_for(plugin(config=Breaks))


def test_an_installed_plugin_is_said_to_be_of_its_distribution(monkeypatch):
    dist = SimpleNamespace(name="ganaug-mine", version="1.0")
    entry = SimpleNamespace(module=__name__, dist=dist)
    other = SimpleNamespace(module=__name__[:4], dist=SimpleNamespace(name="other", version="2"))
    monkeypatch.setattr("ganaug.testing.entry_points", lambda group: [other, entry])
    assert {check.owner for check in checks_for(plugin())} == {
        "GeneratorPlugin 'mine' of ganaug-mine 1.0"
    }


def test_a_built_in_plugin_is_said_to_be_of_ganaug():
    [check, *_] = checks_for(Registry.load().generators["dcgan"])
    assert check.owner == f"GeneratorPlugin 'dcgan' of ganaug {__version__}"


def test_what_is_no_plugin_has_no_checks():
    with pytest.raises(PluginError, match="There are no checks for 3; expected a record"):
        checks_for(3)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("dcgan", {"width": 8}), ("pggan", {}), ("aegan", {"autoencoder_images": 8})],
)
def test_the_built_in_generators_pass(name, settings):
    record = Registry.load().generators[name]
    assert [r for c in checks_for(record, settings=settings) if not (r := c.result()).passed] == []
