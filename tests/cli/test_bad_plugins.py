"""Bad plugins: each is named with its distribution and what is wrong, and hurts nobody else."""

from __future__ import annotations

import sys
import textwrap

import pytest
from distributions import write_distribution

from ganaug.cli.blame import blame
from ganaug.scaffold import write_plugin

HOOK = """
from ganaug import Config, GeneratorPlugin, hookimpl

@hookimpl
def ganaug_generators():
    yield GeneratorPlugin(name="awry", summary="A.", config=Config, build=lambda config, spec: None)
"""

UNUSABLE = {
    "raises on import": ("import ganaug_no_such_module", "", "No module named 'ganaug_no_such"),
    "yields the wrong type": (
        HOOK.replace("GeneratorPlugin(name", "dict(name"),
        "",
        "Hook ganaug_generators must yield GeneratorPlugin records; got {",
    ),
    "declares an argument": (
        HOOK.replace("generators()", "generators(spec)"),
        "",
        "hook 'ganaug_generators' ",
    ),
    "needs a newer ganaug": (HOOK, "ganaug>=99", "It needs ganaug>=99, and this is ganaug 0."),
}

#: What is added to a generator that keeps its promises, the check that it then fails, and how.
BROKEN = {
    "on another device": (
        """
        def built(config, spec):
            return Awry(config, spec).to("meta")
        """,
        "builds-on-the-cpu",
        "was built on meta; leave devices to the training loop",
    ),
    "out of range": (
        """
        class TooBright(Awry):
            def sample(self, labels, *, rng):
                return 3 * super().sample(labels, rng=rng)

        built = TooBright
        """,
        "shape-dtype-and-range",
        "expected [-1, 1]",
    ),
    "of the wrong shape": (
        """
        class Cropped(Awry):
            def sample(self, labels, *, rng):
                return super().sample(labels, rng=rng)[:, :, 1:]

        built = Cropped
        """,
        "shape-dtype-and-range",
        "sampled (3, 1, 15, 16); expected (3, 1, 16, 16)",
    ),
    "no generator": (
        """
        def built(config, spec):
            return "a generator"
        """,
        "builds-on-the-cpu",
        "build returned 'a generator'; expected a ganaug.Generator",
    ),
}


@pytest.fixture
def install(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def install(code, **options):
        monkeypatch.delitem(sys.modules, "installed_awry", raising=False)
        write_distribution(tmp_path, "awry", code, **options)

    return install


@pytest.mark.parametrize("entry", ["awry", "other"])
@pytest.mark.parametrize(("code", "needs", "reason"), UNUSABLE.values(), ids=list(UNUSABLE))
def test_a_plugin_that_cannot_be_used_says_whose_it_is_and_why(
    ganaug, install, code, needs, reason, entry
):
    install(code, needs=needs, entry=entry)
    for command in (
        ("plugins", "check", "awry"),
        ("fit", "digits", "--generator", "awry", "--out", "run"),
    ):
        result = ganaug(*command)
        assert result.code == 2
        assert "The plugin 'awry' of ganaug-awry 1.2.0 could not be loaded: " in result.err
        assert reason in result.err
        assert len(result.err.splitlines()) == 1
    assert ganaug("plugins", "check", "divergence").code == 0
    assert "ganaug-awry 1.2.0" in ganaug("plugins", "list").out


def test_an_unknown_name_says_what_was_not_loaded(ganaug, install):
    install("import ganaug_no_such_module")
    for command in (
        ("plugins", "check", "missing"),
        ("fit", "digits", "--generator", "missing", "--out", "run"),
    ):
        result = ganaug(*command)
        assert result.code == 2
        assert " is named 'missing'." in result.err
        assert "Not loaded, because broken: ganaug-awry 1.2.0; see `ganaug plug" in result.err


def test_a_taken_name_says_who_else_has_it(ganaug, install):
    install(HOOK.replace('"awry"', '"dcgan"'))
    for command in (
        ("plugins", "check", "dcgan"),
        ("fit", "digits", "--generator", "dcgan", "--out", "run"),
    ):
        result = ganaug(*command)
        assert (result.code, result.out) == (2, "")
        assert "2 plugins provide the generator 'dcgan': ganaug 0." in result.err
        assert "(built-in) and ganaug-awry 1.2.0. Uninstall all but one." in result.err


@pytest.mark.parametrize(("code", "check", "reason"), BROKEN.values(), ids=list(BROKEN))
def test_a_generator_that_breaks_a_promise_is_named_with_its_distribution_and_the_check(
    ganaug, install, tmp_path, code, check, reason
):
    module = write_plugin("awry", tmp_path / "elsewhere") / "src" / "ganaug_awry" / "__init__.py"
    good = module.read_text().replace("build=Awry", "build=built")
    install(good + textwrap.dedent(code))
    result = ganaug("plugins", "check", "awry", "--set", "width=8")
    assert result.code == 2
    wanted = f"GeneratorPlugin 'awry' of ganaug-awry 1.2.0 fails '{check}': "
    (line,) = [line for line in result.out.splitlines() if line.startswith(wanted)]
    assert reason in line


@pytest.mark.parametrize(
    ("code", "check", "message"),
    [
        (*BROKEN["on another device"][:2], "built network.0.weight on meta; expected the CPU"),
        (*BROKEN["out of range"][:2], "sample must return images of shape "),
        (*BROKEN["of the wrong shape"][:2], "sample must return images of shape "),
        (BROKEN["no generator"][0], None, "made a str, no Generator"),
        (
            """
            class Forgetful(Awry):
                def generator_loss(self, batch, rng):
                    return self.nothing["there"]

            built = Forgetful
            """,
            None,
            "raised AttributeError: 'Forgetful' object has no attribute 'nothing' (in "
            "installed_awry.py, line ",
        ),
    ],
    ids=[*BROKEN, "raises in a loss"],
)
def test_a_generator_that_fails_in_fit_is_named_with_its_distribution(
    ganaug, install, tmp_path, code, check, message
):
    module = write_plugin("awry", tmp_path / "elsewhere") / "src" / "ganaug_awry" / "__init__.py"
    code = textwrap.dedent(code).replace("3 * super", "300 * super")  # it has hardly learned yet
    install(module.read_text().replace("build=Awry", "build=built") + code)
    fit = ("fit", "digits", "--generator", "awry", "--set", "width=8", "--images", "64")
    result = ganaug(*fit, "--out", "run")
    assert result.code == 2
    assert "'awry' of ganaug-awry 1.2.0" in result.err
    assert message in result.err
    assert check is None or f"fails the check {check!r}. " in result.err
    assert "ganaug plugins check awry" in result.err
    assert len(result.err.splitlines()) == 1


def test_an_error_of_a_worker_is_traced_to_its_plugin(install, tmp_path):
    class _RemoteTraceback(Exception):  # noqa: N818  # as joblib calls it
        """What a worker process leaves of a traceback."""

    install(HOOK)
    error = KeyError("x")
    assert blame(error) is None
    lines = f'File "{__file__}", line 1, in f\n  File "{tmp_path}/installed_awry.py", line 3, in g'
    error.__cause__ = _RemoteTraceback(lines)
    assert blame(error) == (
        "The plugin 'awry' of ganaug-awry 1.2.0 raised KeyError: 'x' (in installed_awry.py, line "
        "3). Look at it with: ganaug plugins check awry"
    )
