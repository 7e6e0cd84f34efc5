"""The plugin: fixtures, the marker, and what a run that uses none of it does not pay."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import pytest

import jwtgate.testing  # noqa: F401 - here once, since each run inside forgets what it imported first

pytest_plugins = ["pytester"]

IS_INSTALLED = any(each.value == "jwtgate.pytest_plugin" for each in entry_points(group="pytest11"))
PLUGIN = () if IS_INSTALLED else ("-p", "jwtgate.pytest_plugin")
"""What a run needs where the package is not installed, or an older one is."""


def run(pytester: pytest.Pytester, text: str, **files: str) -> pytest.RunResult:
    """A suite of a user, strict about markers and warnings."""
    pytester.makepyfile(test_it=text, **files)
    return pytester.runpytest_inprocess(*PLUGIN, "--strict-markers", "-Werror")


def test_plugin_is_there_once_the_package_is_installed() -> None:
    """The entry point names a module that is there."""
    import tomllib

    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"jwtgate": "jwtgate.pytest_plugin"}


def test_run_that_uses_no_fixture_loads_nothing_of_the_package(pytester: pytest.Pytester) -> None:
    """Neither keys nor stores nor a framework."""
    pytester.makepyfile("import sys\ndef test_it(): assert {n for n in sys.modules if n.startswith('jwtgate.')} == {PLUGIN}")
    pytester.makeconftest("import builtins; builtins.PLUGIN = 'jwtgate.pytest_plugin'")
    pytester.runpytest_subprocess(*PLUGIN).assert_outcomes(passed=1)


def test_fixtures_are_parts_of_one_gate(pytester: pytest.Pytester) -> None:
    """Its clock, its store, its tokens; and what the environment gives."""
    run(
        pytester,
        """
        from jwtgate import Gate

        def test_it(jwt_gate, jwt_clock, jwt_store, token_for, bearer):
            assert Gate.from_env() is jwt_gate
            assert jwt_gate.clock is jwt_clock and jwt_gate.faults is jwt_store
            token = token_for("alice", scopes="a b", claims={"tenant": "acme"}, ttl=5)
            assert bearer(token=token) == {"Authorization": f"Bearer {token}"}
            assert jwt_gate.verify(token).scopes == {"a", "b"}
            jwt_clock.advance(4.5)
            assert jwt_gate.status().live
        """,
    ).assert_outcomes(passed=1)


def test_marker_and_override_set_the_gate_of_a_test(pytester: pytest.Pytester) -> None:
    """The closest marker goes before the class's, that before the module's, and all before ``jwt_settings``."""
    run(
        pytester,
        """
        import pytest

        pytestmark = pytest.mark.jwtgate(realm="module", endpoints="/module")

        @pytest.fixture
        def jwt_settings():
            return {"realm": "override", "mode": "optional"}

        @pytest.mark.jwtgate(endpoints="/class", validity="allowlist")
        class TestIt:
            @pytest.mark.jwtgate(realm="function")
            def test_all(self, jwt_gate):
                s = jwt_gate.settings
                assert (s.realm, s.endpoints, s.validity, s.mode) == ("function", "/class", "allowlist", "optional")

            def test_class(self, jwt_gate):
                assert (jwt_gate.settings.realm, jwt_gate.settings.endpoints) == ("module", "/class")
        """,
    ).assert_outcomes(passed=2)


def test_override_may_be_settings(pytester: pytest.Pytester) -> None:
    """Those of the environment, for example, on a store that is not there."""
    run(
        pytester,
        """
        import pytest
        from jwtgate import Settings

        @pytest.fixture
        def jwt_settings(monkeypatch):
            monkeypatch.setenv("JWTGATE_SECRET", "of an application, of more than thirty-two bytes")
            monkeypatch.setenv("JWTGATE_STORE", "redis://127.0.0.1:1/0")
            return Settings.from_env()

        @pytest.mark.jwtgate(realm="ours")
        def test_it(jwt_gate):
            assert jwt_gate.settings.secret.startswith("of an application")
            assert jwt_gate.settings.realm == "ours"
            assert jwt_gate.revoke(sub="alice", wait=True).effective_everywhere
        """,
    ).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ("'allowlist'", "*jwtgate: the marker takes settings by their names*"),
        ("validity='sometimes'", "*JWTGATE_VALIDITY*denylist*allowlist*"),
        ("vality='allowlist'", "*vality*"),
    ],
)
def test_mistake_in_a_marker_is_said(pytester: pytest.Pytester, mark: str, said: str) -> None:
    """As an error of that test, not as a gate that is other than it was meant to be."""
    result = run(pytester, f"import pytest\n@pytest.mark.jwtgate({mark})\ndef test_it(jwt_gate): pass")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([said])


def test_application_that_is_imported_at_collection_uses_the_gate_of_each_test(pytester: pytest.Pytester) -> None:
    """Its settings are in the environment then, as the tests' configuration put them there; its checks are asked, too."""
    run(
        pytester,
        """
        import app, pytest
        from jwtgate.errors import RefusedByCheck

        @pytest.mark.parametrize("order", [1, 2])
        def test_it(jwt_gate, token_for, order):
            assert app.gate.verify(token_for("alice")).subject == "alice"
            with pytest.raises(RefusedByCheck):
                app.gate.verify(token_for("mallory"))
            assert jwt_gate.status().rulings == 0
            app.gate.revoke(jti="a")
            assert jwt_gate.status().rulings == 1

        def test_without():
            assert app.gate.settings.secret.startswith("of an application")
        """,
        conftest="import os\nos.environ['JWTGATE_SECRET'] = 'of an application, of more than thirty-two bytes'",
        app="""
        from jwtgate import Gate
        gate = Gate.from_env()

        @gate.check
        def not_mallory(token, request):
            return token.subject != "mallory"
        """,
    ).assert_outcomes(passed=3)
