"""``nox`` installs the plugin into a new environment and runs its tests."""

import nox


@nox.session
def tests(session: nox.Session) -> None:
    """Keep every promise of a generator."""
    session.install(".", *nox.project.dependency_groups(nox.project.load_toml(), "test"))
    session.run("pytest", *session.posargs)
