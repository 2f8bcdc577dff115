from __future__ import annotations

import pytest

from ganaug import Arm, Reported, Study
from ganaug.errors import ConfigError

PLAIN = Arm(name="plain", summary="As it is.")
GROWN = Arm(name="grown", summary="Grown.")


def test_a_study_is_frozen_data():
    study = Study(name="mine", summary="Mine.", arms=(PLAIN, GROWN))
    assert study == Study(name="mine", summary="Mine.", arms=(PLAIN, GROWN))
    with pytest.raises(AttributeError):
        study.name = "other"


@pytest.mark.parametrize(
    ("arms", "found"), [((), "got none"), ((PLAIN, GROWN, PLAIN), "got plain, grown, plain")]
)
def test_arms_must_be_there_and_have_names_of_their_own(arms, found):
    with pytest.raises(ConfigError, match=f"Study 'mine' needs .* {found}"):
        Study(name="mine", summary="Mine.", arms=arms)


@pytest.mark.parametrize("of", [{}, {"arm": "plain", "network": "dcgan"}])
def test_a_reported_figure_is_of_an_arm_or_of_a_network(of):
    with pytest.raises(ConfigError, match="A reported minutes is of an arm or of a network; got"):
        Reported(**of, measure="minutes", value=27.0)
