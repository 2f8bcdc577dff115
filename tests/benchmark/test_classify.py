from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from ganaug import Arm
from ganaug.benchmark.classifiers import build_classifier
from ganaug.benchmark.classify import Fitted, TrainingSet, predict, train_classifier
from ganaug.errors import ConfigError, DataError, ShapeError, TrainingFailedError
from ganaug.study import ARMS

SIZE = 8
CLASSICAL = {"shift": 0.1}
OVERSAMPLED = ARMS["oversample"] + ARMS["classical"] + ARMS["synthetic"]


def images_of(labels: torch.Tensor, seed: int) -> torch.Tensor:
    """Noise with a bright bar, whose row follows from the class."""
    rng = torch.Generator().manual_seed(seed)
    images = torch.rand(len(labels), 1, SIZE, SIZE, generator=rng) * 0.4 - 1
    images[torch.arange(len(labels)), 0, 2 * labels + 1] += 1
    return images


def training_set(counts=(24, 8, 4), synthetic=(0, 4, 8)) -> TrainingSet:
    real, fake = (torch.arange(3).repeat_interleave(torch.tensor(n)) for n in (counts, synthetic))
    labels = torch.cat([real, fake])
    return TrainingSet(
        images=images_of(labels, 0),
        labels=labels,
        is_synthetic=torch.arange(len(labels)) >= len(real),
    )


VALIDATION_LABELS = torch.tensor([0] * 10 + [1] * 4 + [2] * 2)
VALIDATION = images_of(VALIDATION_LABELS, 1), VALIDATION_LABELS


@pytest.mark.parametrize("reduced", [True, False])
def test_networks_compute_in_bf16_where_the_processor_does_and_weights_stay_float32(
    monkeypatch, reduced
):
    monkeypatch.setattr("ganaug.benchmark.classify.computes_in_bf16", lambda kind: reduced)
    model = build_classifier("small-cnn", 1, SIZE, 3, seed=0)
    seen = []
    model[0].register_forward_hook(lambda _, __, out: seen.append((model.training, out.dtype)))
    fitted = fit(model=model)
    assert set(seen) == {
        (True, torch.bfloat16 if reduced else torch.float32),
        (False, torch.float32),  # what is asked of it is not rounded
    }
    assert {each.dtype for each in fitted.model.parameters()} == {torch.float32}


def fit(
    arm: Arm = ARMS["untreated"], train: TrainingSet | None = None, model=None, **options
) -> Fitted:
    arguments = {
        "steps": 20,
        "batch_size": 12,
        "learning_rate": 1e-2,
        "classical": CLASSICAL,
        "seed": 0,
    }
    return train_classifier(
        build_classifier("small-cnn", 1, SIZE, 3, seed=0) if model is None else model,
        arm,
        train or training_set(),
        VALIDATION,
        **(arguments | options),
    )


class Watched(nn.Module):
    """A linear classifier that keeps what it was shown in training."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(SIZE * SIZE, 3)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.seen: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.seen.append(images.detach().clone())
        return self.linear(images.flatten(1))


@pytest.mark.parametrize("arm", [*ARMS.values(), OVERSAMPLED], ids=lambda arm: arm.name)
def test_every_arm_takes_the_same_number_of_steps_and_learns(arm):
    model = Watched()
    fitted = fit(arm, model=model, learning_rate=0.05, steps=25)
    assert len(model.seen) == 25
    assert [checked.step for checked in fitted.history][-1] == 25
    assert fitted.score > 0.6
    assert not fitted.model.training


@pytest.mark.parametrize("arm", [ARMS["mixup"], OVERSAMPLED], ids=lambda arm: arm.name)
def test_weights_follow_from_the_seed_bit_for_bit_whatever_the_callers_numbers(arm):
    states = []
    for global_seed, seed in ((1, 7), (2, 7), (1, 8)):
        torch.manual_seed(global_seed)
        np.random.seed(global_seed)  # noqa: NPY002 - the legacy numbers are what is tested
        before = torch.get_rng_state()
        states.append(fit(arm, seed=seed).model.state_dict())
        assert torch.equal(torch.get_rng_state(), before)
    one, same, other = states
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_arms_of_one_sampling_see_the_same_batches():
    one, weighted, turned = Watched(), Watched(), Watched()
    fit(ARMS["untreated"], model=one)
    fit(ARMS["class-weights"], model=weighted)
    fit(ARMS["classical"], model=turned, classical={"rotation": 0})
    assert torch.equal(torch.stack(one.seen), torch.stack(weighted.seen))
    assert torch.equal(torch.stack(one.seen), torch.stack(turned.seen))


def test_a_pass_shows_every_real_image_once():
    model, train = Watched(), training_set()
    fit(model=model, train=train, steps=3)  # of 12 images, of which there are 36
    shown = {tuple(image.flatten().tolist()) for image in torch.cat(model.seen)}
    assert shown == {tuple(image.flatten().tolist()) for image in train.images[:36]}


def test_classical_augmentation_is_for_arms_that_have_it():
    plain, moved = Watched(), Watched()
    fit(ARMS["untreated"], model=plain)
    fit(ARMS["classical"], model=moved, classical={"shift": 0.3})
    assert not torch.equal(plain.seen[0], moved.seen[0])
    with pytest.raises(ConfigError, match="no field 'shfit'. Did you mean 'shift'"):
        fit(ARMS["classical"], classical={"shfit": 0.3})


def test_the_best_check_of_the_second_half_is_what_is_kept():
    model = Watched()
    fitted = fit(model=model, learning_rate=0.03, steps=40)
    late = [checked for checked in fitted.history if checked.step > 20]
    best = max(late, key=lambda checked: (checked.score, -checked.loss))
    assert (fitted.steps, fitted.score) == (best.step, best.score)
    probabilities = predict(fitted.model, VALIDATION[0])
    truth = np.eye(3)[VALIDATION[1].numpy()]
    assert fitted.score == pytest.approx(roc_auc_score(truth, probabilities, average="macro"))


class Scheduled(nn.Module):
    """Answers as it is told to, by the number of batches that it was trained on."""

    def __init__(self, answers) -> None:
        super().__init__()
        self.answers = answers
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("batches", torch.tensor(0))

    def forward(self, images):
        self.batches += int(self.training)
        if self.training:
            return self.weight.expand(len(images), 3)
        return self.answers(int(self.batches)).to(torch.float32)


def test_a_class_that_is_never_the_most_probable_one_is_told_from_others_all_the_same():
    truth = torch.eye(3)[VALIDATION_LABELS]

    def answers(step):
        # Class 0 always wins; at step 32, what there is of the others is where it should be.
        return truth * (1.0 if step == 32 else -1.0) + torch.tensor([5.0, 0.0, 0.0])

    fitted = fit(model=Scheduled(answers), steps=40)
    assert fitted.steps == 32
    assert (fitted.score, fitted.history[-1].score) == (1.0, 0.0)


def test_over_confidence_is_no_reason_to_prefer_a_check():
    truth = torch.eye(3)[VALIDATION_LABELS]
    mistaken = truth.clone()
    mistaken[0] = torch.tensor([0.0, 0.5, 0.0])

    def answers(step):
        sure = mistaken * 99  # more often right about which is which, with a larger loss
        return sure if step == 32 else truth.roll(1, 0) * 0.5

    fitted = fit(model=Scheduled(answers), steps=40)
    losses = {checked.step: checked.loss for checked in fitted.history}
    assert losses[32] > losses[40]
    assert fitted.steps == 32


def test_of_checks_that_order_images_alike_the_lowest_loss_counts():
    truth = torch.eye(3)[VALIDATION_LABELS]
    fitted = fit(model=Scheduled(lambda step: truth * (9.0 if step == 28 else 1.0)), steps=40)
    assert fitted.score == 1.0
    assert fitted.steps == 28


def test_probabilities_of_nearly_one_are_told_apart():
    labels = torch.tensor([1, 0, 0])
    logits = torch.tensor([[0.0, 90.0, 0.0], [0.0, 80.0, 0.0], [0.0, 70.0, 0.0]])
    model = Scheduled(lambda step: logits)
    arm, train = ARMS["untreated"], training_set()
    fitted = train_classifier(
        *(model, arm, train, (images_of(labels, 0), labels)),
        steps=1,
        batch_size=8,
        learning_rate=0.1,
        classical={},
        seed=0,
    )
    assert fitted.score == 1.0


def test_validation_images_of_one_class_leave_the_loss_to_choose_by():
    labels = torch.zeros(4, dtype=torch.int64)
    model = Scheduled(lambda step: torch.eye(3)[labels] * (5.0 if step == 14 else 1.0))
    fitted = train_classifier(
        *(model, ARMS["untreated"], training_set(), (images_of(labels, 0), labels)),
        steps=20,
        batch_size=8,
        learning_rate=0.1,
        classical={},
        seed=0,
    )
    assert fitted.steps == 14
    assert np.isnan(fitted.score)


def test_weights_are_those_of_the_best_check_and_not_of_the_last():
    class Forgetting(Watched):
        """Answers class 0 to everything once it has seen 28 batches."""

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("batches", torch.tensor(0))

        def forward(self, images):
            self.batches += int(self.training)
            logits = super().forward(images)
            return logits if self.batches <= 28 else logits * 0 + torch.tensor([1.0, 0.0, 0.0])

    fitted = fit(model=Forgetting(), learning_rate=0.05, steps=40)
    assert fitted.history[-1].score == pytest.approx(1 / 2)
    assert 20 < fitted.steps <= 28
    hits = predict(fitted.model, VALIDATION[0]).argmax(1) == VALIDATION[1].numpy()
    assert hits.mean() > 0.9


def test_a_warm_start_is_judged_by_what_came_after_the_real_images():
    train = training_set(synthetic=(8, 8, 8))
    wrong = train.labels.clone()
    wrong[~train.is_synthetic] = 2 - wrong[~train.is_synthetic]  # real ones teach nonsense
    fitted = fit(
        ARMS["warm-start"],
        replace(train, labels=wrong),
        model=Watched(),
        learning_rate=0.05,
        steps=40,
    )
    assert fitted.history[4].score > 0.9
    assert fitted.steps > 20


@pytest.mark.parametrize(("steps", "checks"), [(100, 10), (25, 10), (3, 3), (1, 1)])
def test_validation_is_looked_at_ten_times_the_last_step_included(steps, checks):
    history = fit(model=Watched(), steps=steps).history
    assert len(history) == checks
    assert history[-1].step == steps


def test_class_weights_make_every_class_count_the_same_in_the_loss():
    class Constant(nn.Module):
        """Knows the frequencies of the classes, and nothing else."""

        def __init__(self) -> None:
            super().__init__()
            self.logits = nn.Parameter(torch.zeros(3))

        def forward(self, images):
            return self.logits.expand(len(images), 3)

    def probabilities(arm: Arm) -> np.ndarray:
        train = training_set(synthetic=(0, 0, 0))
        model = fit(arm, train, model=Constant(), batch_size=36, steps=200, learning_rate=0.05)
        return predict(model.model, VALIDATION[0][:1])[0]

    assert probabilities(ARMS["untreated"])[0] > 0.4
    assert probabilities(ARMS["class-weights"]) == pytest.approx([1 / 3] * 3, abs=1e-3)
    assert probabilities(ARMS["oversample"]) == pytest.approx([1 / 3] * 3, abs=1e-3)


def test_mixup_shows_mixtures_of_two_images_of_the_batch():
    plain, mixed = Watched(), Watched()
    fit(ARMS["untreated"], model=plain)
    fit(replace(ARMS["mixup"], mixup=1.0), model=mixed)
    for before, after in zip(plain.seen, mixed.seen, strict=True):
        pairs = before.flatten(1)
        directions = pairs[None] - pairs[:, None]
        moved = after.flatten(1) - pairs
        length = directions.pow(2).sum(-1).clamp(min=1e-9)
        share = (directions * moved[:, None]).sum(-1) / length
        rest = (moved[:, None] - share[..., None] * directions).norm(dim=-1).min(dim=1).values
        assert rest.max() < 1e-4
    assert not torch.equal(plain.seen[0], mixed.seen[0])


def test_probabilities_sum_to_one_and_do_not_depend_on_the_batch():
    model = fit().model.train()
    images = images_of(torch.arange(3).repeat(200), 3)
    together = predict(model, images)
    assert together.dtype == np.float64
    assert together.shape == (600, 3)
    assert together.sum(axis=1) == pytest.approx(np.ones(600), abs=1e-12)
    np.testing.assert_allclose(predict(model, images[:1])[0], together[0], atol=1e-5)
    assert model.training


def test_a_learning_rate_that_breaks_the_training_is_said():
    with pytest.raises(
        TrainingFailedError, match="not finite after .* of 20 steps; lower the lear"
    ):
        fit(model=Watched(), learning_rate=1e38)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps should be at least 1; got 0"),
        ({"batch_size": 1}, "batch_size should be at least 2; got 1"),
        ({"learning_rate": 0.0}, "learning_rate should be above 0; got 0"),
    ],
)
def test_a_training_that_cannot_be_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        fit(**options)


def test_images_and_labels_must_fit_together():
    train = training_set()
    with pytest.raises(ShapeError, match="training images should be float32 .* got torch.uint8"):
        replace(train, images=train.images.byte())
    with pytest.raises(DataError, match="int64 label for each; got 48 image.* torch.int32"):
        replace(train, labels=train.labels.int())
    with pytest.raises(DataError, match="should be 48 booleans, one an image; got 47"):
        replace(train, is_synthetic=train.is_synthetic[1:])
    with pytest.raises(DataError, match="There should be validation images"):
        train_classifier(
            Watched(),
            ARMS["untreated"],
            train,
            (VALIDATION[0][:0], VALIDATION[1][:0]),
            steps=1,
            batch_size=2,
            learning_rate=1.0,
            classical={},
            seed=0,
        )
