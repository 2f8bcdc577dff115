"""Find plugins, look them up by name, and explain what is wrong when that fails.

Built-ins and strangers enter by the same door: a module, or an object, with hook functions.
Each provider gets a plugin manager of its own, so that none can disturb another.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, Self, TypeVar, cast

import pluggy
from packaging.requirements import InvalidRequirement, Requirement

from ganaug import __version__
from ganaug.errors import (
    GanaugError,
    PluginConflictError,
    PluginError,
    UnknownPluginError,
    nearest,
)
from ganaug.hookspecs import PROJECT_NAME, Hooks
from ganaug.plugins import (
    DatasetPlugin,
    EvaluatorPlugin,
    FeatureExtractorPlugin,
    GeneratorPlugin,
    StoppingPolicyPlugin,
)
from ganaug.study import Study

__all__ = ["KINDS", "BrokenPlugin", "Catalogue", "Listing", "Registry", "unknown_plugin"]

#: The modules that ganaug brings along, in the order in which they are listed.
_BUILTINS = (
    "ganaug.builtin.data.plugin",
    "ganaug.builtin.aegan.plugin",
    "ganaug.builtin.dcgan.plugin",
    "ganaug.builtin.pggan.plugin",
    "ganaug.builtin.extractors.plugin",
    "ganaug.builtin.metrics.plugin",
    "ganaug.builtin.policies.plugin",
    "ganaug.builtin.studies.plugin",
)

_RECORDS: dict[str, type[Any]] = {
    "generators": GeneratorPlugin,
    "datasets": DatasetPlugin,
    "evaluators": EvaluatorPlugin,
    "feature_extractors": FeatureExtractorPlugin,
    "stopping_policies": StoppingPolicyPlugin,
    "studies": Study,
}

#: The kinds of plugin: the attributes of a `Registry` and, after ``ganaug_``, the hooks.
KINDS = tuple(_RECORDS)

_SINGULAR = {
    "generators": "generator",
    "datasets": "dataset plugin",
    "evaluators": "evaluator",
    "feature_extractors": "feature extractor",
    "stopping_policies": "stopping policy",
    "studies": "study",
}

_BUILT_IN = f"ganaug {__version__} (built-in)"

RecordT = TypeVar("RecordT")
MadeT = TypeVar("MadeT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One record and who provides it, such as ``ganaug-tinygan 1.2.0``."""

    kind: str
    name: str
    summary: str
    provider: str
    record: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenPlugin:
    """An installed plugin that could not be used.

    name: its entry point. distribution: name and version. reason: one line.
    """

    name: str
    distribution: str
    reason: str


class Catalogue(Mapping[str, RecordT], Generic[RecordT]):
    """The plugins of one kind: a read-only mapping from name to record.

    Looking up an unknown name raises UnknownPluginError; a name that two plugins have raises
    PluginConflictError. Such a name is in the keys, once; `values` and `items` leave it out, so
    that one bad install breaks nothing but itself.
    """

    def __init__(
        self, kind: str, listings: Sequence[Listing], broken: Sequence[BrokenPlugin]
    ) -> None:
        self._kind = kind
        self._listings = listings
        self._broken = broken

    def _of(self, name: object) -> list[Listing]:
        return [item for item in self._listings if (item.kind, item.name) == (self._kind, name)]

    def __getitem__(self, name: str) -> RecordT:
        return cast(RecordT, self.find(name).record)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(i.name for i in self._listings if i.kind == self._kind))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return bool(self._of(name))

    def get(self, name: str, default: Any = None) -> Any:
        """Return the record, or the default when no plugin has that name."""
        return self[name] if self._of(name) else default

    def values(self) -> ValuesView[RecordT]:
        """Return the records whose names are nobody else's."""
        return self._usable().values()

    def items(self) -> ItemsView[str, RecordT]:
        """Return names and records, for names that one plugin has."""
        return self._usable().items()

    def _usable(self) -> dict[str, RecordT]:
        return {name: self[name] for name in self if len(self._of(name)) == 1}

    def __repr__(self) -> str:
        return f"<{self._kind}: {', '.join(self) or 'none'}>"

    def find(self, name: str) -> Listing:
        """Return the listing of that name.

        Raises UnknownPluginError and PluginConflictError, which say what there is.
        """
        found = self._of(name)
        if not found:
            raise unknown_plugin(name, _SINGULAR[self._kind], list(self), self._broken)
        if len(found) > 1:
            providers = " and ".join(item.provider for item in found)
            raise PluginConflictError(
                f"{len(found)} plugins provide the {_SINGULAR[self._kind]} {name!r}: {providers}. "
                "Uninstall all but one."
            )
        return found[0]

    def make(self, name: str, call: Callable[[RecordT], MadeT], kind: type[Any]) -> MadeT:
        """Return what a plugin's own code makes, which is to be of a kind.

        call: takes the record, such as ``lambda plugin: plugin.build(config, spec)``.

        Raises what `find` raises; PluginError, which names the plugin and who provides it, when it
        raises anything but a GanaugError, and for what is of no such kind. An error of a built-in
        goes on as it is: it is a bug.
        """
        found = self.find(name)
        who = f"The {_SINGULAR[self._kind]} {name!r} of {found.provider}"
        advice = f"Look at it with: ganaug plugins check {name}"
        try:
            made = call(cast(RecordT, found.record))
        except GanaugError:
            raise
        except (Exception, SystemExit) as error:
            if found.provider == _BUILT_IN:
                raise
            raise PluginError(f"{who} raised {_describe(error)}. {advice}") from error
        if not isinstance(made, kind):
            raise PluginError(f"{who} made a {type(made).__name__}, no {kind.__name__}. {advice}")
        return made


class Registry:
    """The plugins that are at hand, by kind and name.

    ``Registry.load()`` finds the built-ins and whatever is installed; ``Registry([plugin])`` holds
    exactly the given plugins, each a module, an object with hook functions, or the dotted name
    of a module, and raises PluginError when one is bad.
    """

    def __init__(self, plugins: Iterable[Any] = ()) -> None:
        self._listings: list[Listing] = []
        self._broken: list[BrokenPlugin] = []
        self.generators: Catalogue[GeneratorPlugin] = self._catalogue("generators")
        self.datasets: Catalogue[DatasetPlugin] = self._catalogue("datasets")
        self.evaluators: Catalogue[EvaluatorPlugin] = self._catalogue("evaluators")
        self.feature_extractors: Catalogue[FeatureExtractorPlugin] = self._catalogue(
            "feature_extractors"
        )
        self.stopping_policies: Catalogue[StoppingPolicyPlugin] = self._catalogue(
            "stopping_policies"
        )
        self.studies: Catalogue[Study] = self._catalogue("studies")
        for plugin in plugins:
            provider = plugin if isinstance(plugin, str) else _label(plugin)
            self._listings += _listings(plugin, provider)

    @classmethod
    def load(cls) -> Self:
        """Load the built-ins, then every entry point of the group ``ganaug``.

        An entry point that fails is recorded in `broken`; a built-in that fails raises PluginError.
        """
        registry = cls()
        for name in _BUILTINS:
            registry._listings += _listings(name, _BUILT_IN)
        for entry in sorted(entry_points(group=PROJECT_NAME), key=lambda entry: entry.name):
            registry._load_entry(entry)
        return registry

    @property
    def broken(self) -> tuple[BrokenPlugin, ...]:
        """Installed plugins that could not be used, and why."""
        return tuple(self._broken)

    @property
    def listings(self) -> tuple[Listing, ...]:
        """Every record with its provider, kind by kind; a conflicting name appears repeatedly."""
        return tuple(sorted(self._listings, key=lambda item: KINDS.index(item.kind)))

    def catalogue(self, kind: str) -> Catalogue[Any]:
        """Return the plugins of a kind, one of `KINDS`. Raises PluginError for another kind."""
        if kind not in KINDS:
            raise PluginError(
                f"There is no kind of plugin {kind!r}.{nearest(kind, KINDS)} "
                f"The kinds are {', '.join(KINDS)}."
            )
        return cast("Catalogue[Any]", getattr(self, kind))

    def provider(self, kind: str, name: str) -> str:
        """Return who provides it: ``ganaug 0.1.0 (built-in)``, or a distribution and version.

        Raises as a lookup of that name does.
        """
        return self.catalogue(kind).find(name).provider

    def _catalogue(self, kind: str) -> Catalogue[Any]:
        return Catalogue(kind, self._listings, self._broken)

    def _load_entry(self, entry: EntryPoint) -> None:
        distribution = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
        try:
            _check_requirement(entry)
            self._listings += _listings(_import(entry.value, entry.load), distribution)
        except PluginError as error:
            self._broken.append(
                BrokenPlugin(name=entry.name, distribution=distribution, reason=_one_line(error))
            )


def unknown_plugin(
    name: str, noun: str, names: Sequence[str], broken: Sequence[BrokenPlugin]
) -> UnknownPluginError:
    """Return the error that says why there is no plugin of that name.

    noun: what was looked for, such as ``generator``. names: those that there are. broken: those
    that would perhaps have it.
    """
    for each in broken:
        if _normal(name) in (_normal(each.name), _normal(each.distribution.split()[0])):
            return UnknownPluginError(
                f"The plugin {name!r} of {each.distribution} could not be loaded: {each.reason}"
            )
    choices = f"Choose from {', '.join(names)}." if names else "None is installed."
    if broken:
        distributions = ", ".join(each.distribution for each in broken)
        choices += f" Not loaded, because broken: {distributions}; see `ganaug plugins list`."
    return UnknownPluginError(f"No {noun} is named {name!r}.{nearest(name, names)} {choices}")


def _check_requirement(entry: EntryPoint) -> None:
    """Raise PluginError when a distribution was made for another version of ganaug than this.

    An installer sees to that, unless it is told not to, or ganaug is changed afterwards.
    """
    if entry.dist is None:
        return
    for text in entry.dist.requires or ():
        try:
            needed = Requirement(text)
        except InvalidRequirement:
            continue
        applies = needed.marker is None or needed.marker.evaluate({"extra": ""})
        if needed.name.lower() != PROJECT_NAME or not applies:
            continue
        if not needed.specifier.contains(__version__, prereleases=True):
            raise PluginError(
                f"It needs {PROJECT_NAME}{needed.specifier}, and this is {PROJECT_NAME} "
                f"{__version__}. Install versions of both that go together."
            )


def _listings(plugin: Any, provider: str) -> list[Listing]:
    """Return all that a plugin yields. Raises PluginError, whatever goes wrong in it."""
    if isinstance(plugin, str):
        dotted = plugin
        plugin = _import(dotted, lambda: importlib.import_module(dotted))
    manager = _manager(plugin)
    listings: list[Listing] = []
    for kind, record_type in _RECORDS.items():
        for record in _records(manager, kind):
            if not isinstance(record, record_type):
                raise PluginError(
                    f"Hook ganaug_{kind} must yield {record_type.__name__} records; "
                    f"got {_one_line(repr(record))}."
                )
            name, summary = record.name, record.summary
            if any((item.kind, item.name) == (kind, name) for item in listings):
                raise PluginError(f"Hook ganaug_{kind} yields two records named {name!r}.")
            listings.append(
                Listing(kind=kind, name=name, summary=summary, provider=provider, record=record)
            )
    return listings


def _import(name: str, load: Any) -> Any:
    try:
        return load()
    except (Exception, SystemExit) as error:
        raise PluginError(f"Importing {name} raised {_describe(error)}") from error


def _manager(plugin: Any) -> pluggy.PluginManager:
    """Register one plugin and check its hooks' names and arguments."""
    manager = pluggy.PluginManager(PROJECT_NAME)
    manager.add_hookspecs(Hooks)
    hooks = [f"ganaug_{kind}" for kind in KINDS]
    try:
        manager.register(plugin, name=_label(plugin))
    except Exception as error:  # a stranger's object may raise anything when it is looked at
        raise PluginError(_describe(error)) from error
    callers = manager.get_hookcallers(plugin) or []
    if not callers:
        raise PluginError(
            f"{_label(plugin)} has no hook; mark its functions with ganaug.hookimpl. "
            f"The hooks are {', '.join(hooks)}."
        )
    for caller in callers:
        if not caller.has_spec():
            raise PluginError(
                f"There is no hook {caller.name!r}.{nearest(caller.name, hooks)} "
                f"The hooks are {', '.join(hooks)}."
            )
    return manager


def _records(manager: pluggy.PluginManager, kind: str) -> list[Any]:
    hook = getattr(manager.hook, f"ganaug_{kind}")
    try:
        return [record for results in hook() for record in results]
    except (Exception, SystemExit) as error:
        raise PluginError(f"Hook ganaug_{kind} raised {_describe(error)}") from error


def _label(plugin: Any) -> str:
    return str(getattr(plugin, "__name__", type(plugin).__name__))


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").removeprefix("ganaug-")


def _describe(error: BaseException) -> str:
    return _one_line(f"{type(error).__name__}: {error}")


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
