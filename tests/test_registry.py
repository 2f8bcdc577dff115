from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from distributions import write_distribution

from ganaug import Arm, Config, GeneratorPlugin, Registry, Study, hookimpl
from ganaug.errors import PluginConflictError, PluginError, ShapeError, UnknownPluginError
from ganaug.registry import KINDS


def generator(name: str = "tiny", summary: str = "Tiny.") -> GeneratorPlugin:
    return GeneratorPlugin(
        name=name, summary=summary, config=Config, build=lambda config, spec: None
    )


class Tiny:
    @hookimpl
    def ganaug_generators(self):
        yield generator()


class TinyAgain:
    @hookimpl
    def ganaug_generators(self):
        yield generator(summary="Another.")
        yield generator("other")


GOOD = """
from ganaug import Config, GeneratorPlugin, hookimpl

@hookimpl
def ganaug_generators():
    yield GeneratorPlugin(
        name={name!r}, summary="A stranger.", config=Config, build=lambda config, spec: None
    )
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install a distribution ganaug-NAME with one entry point: a module of that code."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name: str, code: str, **options: str) -> None:
        monkeypatch.delitem(sys.modules, f"installed_{name}", raising=False)
        write_distribution(tmp_path, name, code, **options)

    return install


def broken(registry: Registry, name: str) -> str:
    (reason,) = [broken.reason for broken in registry.broken if broken.name == name]
    return reason


def test_a_registry_holds_exactly_the_plugins_it_is_given():
    registry = Registry([Tiny()])
    assert list(registry.generators) == ["tiny"]
    assert registry.generators["tiny"].summary == "Tiny."
    assert all(not registry.catalogue(kind) for kind in KINDS if kind != "generators")
    assert len(Registry().listings) == 0


@pytest.mark.parametrize("as_name", [True, False], ids=["dotted name", "module"])
def test_a_module_is_a_plugin_and_so_is_its_dotted_name(install, as_name):
    install("byname", GOOD.format(name="by-name"))
    plugin = "installed_byname" if as_name else __import__("installed_byname")
    registry = Registry([plugin])
    assert "by-name" in registry.generators
    assert registry.provider("generators", "by-name") == "installed_byname"


def test_a_catalogue_is_a_read_only_mapping():
    generators = Registry([Tiny(), TinyAgain()]).generators
    assert (list(generators), len(generators)) == (["tiny", "other"], 2)
    assert "other" in generators
    assert "unknown" not in generators
    assert generators.get("unknown") is None
    assert generators.get("unknown", 3) == 3
    assert generators.get("other") is generators["other"]
    with pytest.raises(TypeError):
        generators["mine"] = generator()
    with pytest.raises(AttributeError):
        generators["other"].name = "mine"


def test_an_unknown_name_lists_the_choices_and_the_nearest():
    with pytest.raises(
        UnknownPluginError,
        match=r"No generator is named 'othr'\. Did you mean 'other'\? Choose from tiny, other\.",
    ):
        Registry([Tiny(), TinyAgain()]).generators["othr"]
    with pytest.raises(UnknownPluginError, match="No study is named 'mine'. None is installed"):
        Registry().studies["mine"]


def test_two_providers_of_a_name_are_an_error_when_that_name_is_looked_up():
    generators = Registry([Tiny(), TinyAgain()]).generators
    assert generators["other"]
    assert "tiny" in generators
    assert list(generators).count("tiny") == 1
    for look_up in (generators.__getitem__, generators.get):
        with pytest.raises(PluginConflictError, match="generator 'tiny': Tiny and TinyAgain"):
            look_up("tiny")


def test_a_conflict_does_not_break_going_through_the_others():
    generators = Registry([Tiny(), TinyAgain()]).generators
    assert [record.name for record in generators.values()] == ["other"]
    assert dict(generators.items()) == {"other": generators["other"]}


def test_kinds_have_names_of_their_own():
    class Both:
        @hookimpl
        def ganaug_generators(self):
            yield generator("same")

        @hookimpl
        def ganaug_studies(self):
            yield Study(name="same", summary="A study.", arms=(Arm(name="a", summary="A."),))

    registry = Registry([Both()])
    assert registry.generators["same"].summary == "Tiny."
    assert registry.studies["same"].summary == "A study."
    assert [(item.kind, item.name) for item in registry.listings] == [
        ("generators", "same"),
        ("studies", "same"),
    ]


def test_an_unknown_kind_lists_the_kinds():
    with pytest.raises(PluginError, match="no kind of plugin 'generator'. Did you mean 'gen"):
        Registry().provider("generator", "dcgan")


class Misspelt:
    @hookimpl
    def ganaug_generator(self):
        yield generator()


class WrongArguments:
    @hookimpl
    def ganaug_generators(self, spec):
        yield generator()


class NotIterable:
    @hookimpl
    def ganaug_generators(self):
        return 3


class WrongType:
    @hookimpl
    def ganaug_generators(self):
        yield "dcgan"


class WrongKind:
    @hookimpl
    def ganaug_stopping_policies(self):
        yield generator()


class Raises:
    @hookimpl
    def ganaug_generators(self):
        raise ZeroDivisionError("one\ntwo")


class BadName:
    @hookimpl
    def ganaug_generators(self):
        yield generator("My GAN")


class Twice:
    @hookimpl
    def ganaug_generators(self):
        return [generator(), generator()]


class Unmarked:
    def ganaug_generators(self):
        yield generator()


BAD = [
    (Misspelt(), r"no hook 'ganaug_generator'\. Did you mean 'ganaug_generators'\?"),
    (WrongArguments(), r"'ganaug_generators' .*\(spec\) .*'spec'"),
    (NotIterable(), "Hook ganaug_generators raised TypeError: 'int' object is not iterable"),
    (WrongType(), "must yield GeneratorPlugin records; got 'dcgan'"),
    (WrongKind(), "must yield StoppingPolicyPlugin records; got GeneratorPlugin"),
    (Raises(), "Hook ganaug_generators raised ZeroDivisionError: one two"),
    (BadName(), "lower-case letters, digits and single hyphens; got 'My GAN'"),
    (Twice(), "yields two records named 'tiny'"),
    (Unmarked(), "Unmarked has no hook; mark its functions with ganaug.hookimpl"),
    ("ganaug_no_such_module", "Importing ganaug_no_such_module raised ModuleNotFoundError"),
    ("json", "json has no hook"),
    (None, "NoneType has no hook"),
]


@pytest.mark.parametrize(("plugin", "message"), BAD, ids=[str(m)[:25] for _, m in BAD])
def test_a_bad_plugin_is_refused_at_once_with_one_line(plugin, message):
    with pytest.raises(PluginError, match=message) as caught:
        Registry([Tiny(), plugin])
    assert "\n" not in str(caught.value)


def test_installed_plugins_are_found_and_named_after_their_distribution(install):
    install("found", GOOD.format(name="found"))
    registry = Registry.load()
    assert registry.generators["found"].summary == "A stranger."
    assert registry.provider("generators", "found") == "ganaug-found 1.2.0"
    assert not registry.broken


def test_builtins_come_first_and_say_so():
    import ganaug

    registry = Registry.load()
    expected = f"ganaug {ganaug.__version__} (built-in)"
    assert {"max-images", "max-seconds", "divergence"} <= set(registry.stopping_policies)
    assert registry.provider("stopping_policies", "divergence") == expected
    assert registry.listings[0].provider == expected


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import ganaug_no_such_module", "raised ModuleNotFoundError: No module named 'ganaug_no"),
        ("def broken(:", "raised SyntaxError"),
        ("raise SystemExit(3)", "raised SystemExit: 3"),
        (GOOD.replace("generators", "generatorz"), "Did you mean 'ganaug_generators'?"),
        (GOOD.replace("generators()", "generators(config)"), "'config'"),
        (GOOD.replace("GeneratorPlugin(", "dict("), "must yield GeneratorPlugin records; got {"),
        (GOOD.replace("yield", "1 / 0; yield"), "raised ZeroDivisionError"),
        (GOOD.replace("build=lambda config, spec: None", ""), "raised TypeError"),
    ],
    ids=["import", "syntax", "exit", "misspelt", "signature", "type", "raises", "incomplete"],
)
def test_a_broken_stranger_is_reported_and_hurts_nobody_else(install, code, reason):
    install("awry", code.replace("{name!r}", "'awry'"))
    install("well", GOOD.format(name="well"))
    registry = Registry.load()
    assert reason in broken(registry, "awry")
    assert "\n" not in broken(registry, "awry")
    assert registry.broken[0].distribution == "ganaug-awry 1.2.0"
    assert registry.provider("generators", "well") == "ganaug-well 1.2.0"
    assert "awry" not in registry.generators


def test_asking_for_a_broken_plugin_gives_the_reason(install):
    install("awry", "import ganaug_no_such_module", entry="a_main")
    registry = Registry.load()
    for name in ("awry", "ganaug-awry", "a-main"):
        with pytest.raises(UnknownPluginError, match=r"ganaug-awry 1\.2\.0 .*ganaug_no_such_modul"):
            registry.generators[name]
    with pytest.raises(UnknownPluginError, match=r"'other'.*broken: ganaug-awry 1\.2\.0"):
        registry.generators["other"]


def test_a_hook_that_fails_late_takes_the_records_of_its_plugin_along(install):
    late = GOOD + "\n@hookimpl\ndef ganaug_studies():\n    return 1 / 0\n"
    install("late", late.format(name="late"))
    registry = Registry.load()
    assert "late" not in registry.generators
    assert "Hook ganaug_studies raised ZeroDivisionError" in broken(registry, "late")


def test_strangers_with_one_name_conflict_by_distribution(install):
    install("one", GOOD.format(name="same"))
    install("two", GOOD.format(name="same"), version="2.0")
    registry = Registry.load()
    assert not registry.broken
    with pytest.raises(PluginConflictError, match=r"ganaug-one 1\.2\.0 and ganaug-two 2\.0"):
        registry.generators["same"]


def test_a_stranger_with_the_name_of_a_builtin_conflicts_with_it(install):
    install("taken", GOOD.format(name="dcgan"))
    registry = Registry.load()
    with pytest.raises(
        PluginConflictError,
        match=r"'dcgan': ganaug [\d.]+ \(built-in\) and ganaug-taken 1\.2\.0. Uninstall all but",
    ):
        registry.generators["dcgan"]


@pytest.mark.parametrize(
    "needs", ["ganaug>=99", "Ganaug (<0.0.1)", 'ganaug>=98,<99; python_version>"3"']
)
def test_a_plugin_for_another_ganaug_is_reported_before_it_is_imported(install, needs):
    install("newer", "raise SystemExit('imported')", needs=needs)
    registry = Registry.load()
    assert registry.broken[0].distribution == "ganaug-newer 1.2.0"
    wanted = (
        r"It needs ganaug[<>]\S+, and this is ganaug \S+\. Install versions of both that go tog"
    )
    assert re.match(wanted, broken(registry, "newer"))
    with pytest.raises(
        UnknownPluginError, match=r"'newer' of ganaug-newer 1\.2\.0 .* It needs gan"
    ):
        registry.generators["newer"]


@pytest.mark.parametrize(
    "needs",
    ["ganaug", "ganaug>=0.1.0", "ganaug-other>=99", "no requirement !", 'ganaug>=99; extra == "x"'],
)
def test_a_plugin_for_this_ganaug_is_imported(install, needs):
    install("fits", GOOD.format(name="fits"), needs=needs)
    assert "fits" in Registry.load().generators


def test_a_development_version_of_ganaug_is_what_a_plugin_can_ask_for(install, monkeypatch):
    monkeypatch.setattr("ganaug.registry.__version__", "0.2.0.dev1")
    install("fits", GOOD.format(name="fits"), needs="ganaug>=0.1.0")
    assert "fits" in Registry.load().generators


def test_a_builtin_that_fails_is_an_error(monkeypatch):
    monkeypatch.setattr("ganaug.registry._BUILTINS", ("ganaug_no_such_module",))
    with pytest.raises(PluginError, match="ganaug_no_such_module"):
        Registry.load()


def test_registries_share_nothing():
    first, second = Registry([Tiny()]), Registry()
    assert "tiny" in first.generators
    assert "tiny" not in second.generators


def raise_it(error):
    raise error


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda _: raise_it(ModuleNotFoundError("No module named 'einops'")), "raised .*einops"),
        (lambda _: "x", "made a str, no int"),
    ],
)
def test_what_a_strangers_code_does_wrong_names_it_and_its_distribution(install, make, said):
    install("tiny", GOOD.format(name="tiny"))
    message = rf"The generator 'tiny' of ganaug-tiny 1\.2\.0 {said}.* ganaug plugins check tiny"
    with pytest.raises(PluginError, match=message):
        Registry.load().generators.make("tiny", make, int)
    assert Registry.load().generators.make("tiny", lambda _: 3, int) == 3


def test_what_a_plugin_says_itself_goes_on_and_so_does_a_bug_of_a_builtin(install):
    install("tiny", GOOD.format(name="tiny"))
    registry = Registry.load()
    with pytest.raises(ShapeError, match="^too small$"):
        registry.generators.make("tiny", lambda _: raise_it(ShapeError("too small")), int)
    with pytest.raises(KeyError):
        registry.generators.make("dcgan", lambda _: raise_it(KeyError("a")), int)


def test_loading_every_plugin_imports_nothing_heavy():
    code = """
        import sys
        from ganaug import Registry
        registry = Registry.load()
        assert "max-images" in registry.stopping_policies
        assert [item.summary for item in registry.listings]
        heavy = {"torch", "sklearn", "PIL", "monai", "matplotlib", "imblearn", "lightning_fabric"}
        print(sorted(heavy & set(sys.modules)))
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"
