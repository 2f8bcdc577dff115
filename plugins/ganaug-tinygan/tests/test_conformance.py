"""Tinygan keeps the promises that ganaug asks of a generator."""

from ganaug.testing import parametrize_checks

import ganaug_tinygan

(PLUGIN,) = ganaug_tinygan.ganaug_generators()


@parametrize_checks(PLUGIN, settings={"width": 8})
def test_keeps_its_promises(check):
    check()
