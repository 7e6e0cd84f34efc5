"""No thread of a test reaches the next one: ``beside``."""

from __future__ import annotations

import socket
import threading
from contextlib import closing
from pathlib import Path

import pytest
from beside import beside, hung_up, together
from servers import Server, free_port, valkey_binary


def test_thread_ends_with_a_test_that_fails() -> None:
    """Told so, and waited for; what went wrong in it is told with the failure."""
    is_over, has_failed = threading.Event(), threading.Event()

    def fail() -> None:
        has_failed.set()
        raise OSError("gone")

    with pytest.raises(AssertionError, match="^this test fails") as caught:  # noqa: PT012
        with beside(lambda: is_over.wait(60.0), fail, end=is_over.set) as threads:
            assert has_failed.wait(60.0)
            threads[1].join()
            assert not threads, "this test fails"
    assert not any(thread.is_alive() for thread in threads)
    assert caught.value.__notes__ == ["beside it: OSError('gone')"]


def test_error_of_a_thread_is_the_error_of_its_test() -> None:
    """As it is, so that it is judged like one of the test itself."""

    def fail() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="^gone$"):
        together(fail, fail)


def test_who_waits_for_a_client_hears_that_none_comes() -> None:
    """Else it would wait on, on a socket that is closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with pytest.raises(OSError):
                listener.accept()

        with beside(accept, end=hung_up(listener)) as threads:
            assert threads[0].is_alive()
    assert not threads[0].is_alive()


def test_thread_that_goes_on_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run never hangs for it."""
    monkeypatch.setattr("beside.PATIENCE_SECONDS", 0.05)
    is_over = threading.Event()
    with pytest.raises(AssertionError, match="not over after"), beside(is_over.wait) as threads:
        """It waits for nothing."""
    is_over.set()
    threads[0].join()


OWN_WAYS = {"cli/test_watching.py", "runtime/test_bodies.py", "stores/test_sql_queue.py", "test_beside.py"}
"""Objects with an ``__exit__`` or a ``close`` that ends what they began."""


def test_threads_of_tests_are_begun_by_beside() -> None:
    """A ``join`` at the end of a test is not reached by one that fails."""
    folder = Path(__file__).parent
    found = {str(path.relative_to(folder)) for path in folder.rglob("test_*.py") if "Thread(target" in path.read_text()}
    assert found <= OWN_WAYS


@pytest.mark.server
def test_server_that_does_not_come_up_is_not_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would answer a later test on its port."""
    monkeypatch.setattr("servers.START_SECONDS", 1.0)
    server = Server(valkey_binary(), "--port", str(free_port()))
    with closing(server), pytest.raises(AssertionError, match="did not answer"):
        server.start()
    assert server.process is None
