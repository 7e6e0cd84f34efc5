"""A process that forks while other threads use its gate. Run as ``python -m processes.forking <configuration as JSON>``.

Each child, and the parent throughout, must decide rightly. Exits with 0 if all did; a deadlock ends with a traceback.
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import os
import signal
import sys
import threading
import time
import warnings
from typing import Any

from jwtgate import Gate, Settings
from jwtgate.errors import JWTGateError, Revoked, StoreUnavailable

CHILDREN = 12
CHILD_SECONDS, PARENT_SECONDS = 15, 40


def judge(gate: Gate, tokens: list[tuple[str, bool]]) -> list[str]:
    """What is wrong with the answers."""
    wrong = []
    for token, is_revoked in tokens:
        try:
            gate.verify(token)
        except Revoked:
            if not is_revoked:
                wrong.append("refused a living token")
        except StoreUnavailable:
            pass
        except Exception as error:
            wrong.append(repr(error))
        else:
            if is_revoked:
                wrong.append("admitted a revoked token")
    return wrong


async def judge_awaited(gate: Gate, tokens: list[tuple[str, bool]]) -> list[str]:
    """The same on an event loop of its own."""
    answers = await asyncio.gather(*(gate.aio.verify(token) for token, _ in tokens), return_exceptions=True)
    pairs = zip(answers, tokens, strict=True)
    return [
        repr(answer)
        for answer, (_, is_revoked) in pairs
        if not isinstance(answer, StoreUnavailable) and isinstance(answer, Revoked) != is_revoked
    ]


def child(gate: Gate, tokens: list[tuple[str, bool]], parent_name: str | None) -> int:
    """What a forked worker does with the gate that it inherited."""
    signal.alarm(CHILD_SECONDS)
    if gate.status().live:
        print("the child's view was live before its own follower read anything", file=sys.stderr)
        return 1
    wrong = judge(gate, tokens) + asyncio.run(judge_awaited(gate, tokens))
    if not gate.ready(10.0):
        wrong.append("never live")
    wrong += judge(gate, tokens)
    if gate.follower.worker_name() in (None, parent_name):
        wrong.append("no follower of its own")
    if gate.follower.worker_name() not in {worker.name for worker in gate.store.workers()[2]}:
        wrong.append("not registered")
    gate.close()
    for text in wrong:
        print(f"child: {text}", file=sys.stderr)
    return 1 if wrong else 0


def main() -> int:
    """Forks while three threads and a loop keep the gate's locks and connections busy."""
    faulthandler.register(signal.SIGALRM, chain=True)  # what hangs says where, and ends
    signal.alarm(PARENT_SECONDS)
    warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of forking with threads: that is the test
    settings: dict[str, Any] = json.loads(sys.argv[1])
    gate = Gate(Settings(**settings))
    assert gate.ready(10.0)
    tokens = [(gate.issue(f"user {number}"), number % 2 == 1) for number in range(20)]
    for number, (_, is_revoked) in enumerate(tokens):
        if is_revoked:
            gate.revoke(sub=f"user {number}", wait=True)
    is_over = threading.Event()
    wrong: list[str] = []

    def keep_busy() -> None:
        while not is_over.is_set():
            wrong.extend(judge(gate, tokens))

    def keep_revoking() -> None:
        number = 0
        while not is_over.wait(0.002):
            number += 1
            try:
                gate.revoke(jti=f"another {number}", wait=number % 2 == 0)
            except JWTGateError as error:
                wrong.append(repr(error))

    def keep_awaiting() -> None:
        while not is_over.is_set():
            wrong.extend(asyncio.run(judge_awaited(gate, tokens)))

    threads = [threading.Thread(target=target) for target in (keep_busy, keep_busy, keep_revoking, keep_awaiting)]
    for thread in threads:
        thread.start()
    name = gate.follower.worker_name()
    children = []
    for _ in range(CHILDREN):
        time.sleep(0.02)
        pid = os.fork()
        if pid == 0:
            os._exit(child(gate, tokens, name))
        children.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    is_over.set()
    for thread in threads:
        thread.join(10.0)
    if gate.follower.worker_name() != name or not gate.ready(5.0):
        wrong.append("the parent's follower was disturbed")
    gate.close()
    print(json.dumps({"codes": codes, "wrong": wrong[:5]}))
    return 0 if not wrong and set(codes) == {0} else 1


if __name__ == "__main__":
    sys.exit(main())
