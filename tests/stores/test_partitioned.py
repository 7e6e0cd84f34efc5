"""Several partitions as one store: each atomic step on the right one, and what takes several in the right order."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from jwtgate.core.handles import digest_of
from jwtgate.core.history import Facts, NotDurable, NotWritten, Watch
from jwtgate.core.partitioning import partition_of, partition_of_session, partition_of_user
from jwtgate.core.rulings import Change, Ruling
from jwtgate.core.sessions.stored import Guard, SessionChange
from jwtgate.errors import StoreUnavailable
from jwtgate.stores.memory import MemoryStore
from jwtgate.stores.partitioned import PartitionedStore

COUNT = 3


def named(kind: str, partition: int) -> str:
    """A value whose handle stands in that partition."""
    return next(str(number) for number in range(1000) if partition_of(digest_of("", kind, str(number)), COUNT) == partition)


JTIS = [digest_of("", "jti", named("jti", partition)) for partition in range(COUNT)]
SIDS = [named("sid", partition) for partition in range(COUNT)]
SUBJECT = digest_of("", "sub", "alice")


def user_of(partition: int) -> bytes:
    """A subject whose list stands in that partition."""
    users = (digest_of("", "sessions", str(number)) for number in range(1000))
    return next(user for user in users if partition_of_user(user, COUNT) == partition)


def put(partition: int, **fields: object) -> SessionChange:
    """A session that stands there, with handles here and in partition 0."""
    now = time.time()
    handles = (digest_of("", "sid", SIDS[partition]), user_of(partition), SUBJECT)
    session = SessionChange(SIDS[partition], user_of(partition), record=b"text", handles=handles, ends_at=now + 60, seen_at=now)
    return replace(session, **fields)  # type: ignore[arg-type]


@pytest.fixture
def store() -> PartitionedStore:
    """Three partitions, each in memory."""
    return PartitionedStore(tuple(MemoryStore(watch=Watch(1.0, 1.0)) for _ in range(COUNT)))


def rulings_in(store: PartitionedStore) -> list[int]:
    """How many each partition holds."""
    return [len(part._rulings) for part in store.parts]  # type: ignore[attr-defined]


def test_rulings_are_written_and_found_where_they_belong(store: PartitionedStore) -> None:
    """One step a partition; answers in the order of the questions."""
    written = store.write([Change(digest, revoked=True) for digest in (JTIS[2], SUBJECT, JTIS[1])], time.time())
    assert written is not None and [part.partition for part in written.parts] == [0, 1, 2]
    assert rulings_in(store) == [1, 1, 1]
    facts = store.look_up([JTIS[1], JTIS[0], SUBJECT, JTIS[2]])
    assert [ruling is not None for ruling in facts.rulings] == [True, False, True, True]
    assert {index for index, _, _ in facts.others} == {1, 2}
    assert facts.epoch.name == store.parts[0].workers()[0].name


def test_look_up_of_one_partition_asks_no_other_but_the_first(store: PartitionedStore) -> None:
    """The first is always among them: stamps are its positions."""
    facts = store.look_up([JTIS[1]])
    assert [index for index, _, _ in facts.others] == [1]
    assert facts.end == store.parts[0].workers()[1]


@pytest.mark.parametrize("partition", range(COUNT))
def test_session_is_found_with_rulings_of_both_partitions(store: PartitionedStore, partition: int) -> None:
    """What ends it alone stands beside it, what cuts off its subject in partition 0."""
    assert store.write((), time.time(), (put(partition),)) is not None
    store.write([Change(SUBJECT, cuts_off=True)], time.time())
    for facts in (store.look_up((), (SIDS[partition],)), store.sessions_of(user_of(partition))):
        (session,) = facts.sessions
        assert session is not None and [ruling is not None for ruling in session.rulings] == [False, False, True]
        assert facts.home().name == store.parts[partition].workers()[0].name


@pytest.mark.parametrize("elsewhere", range(COUNT))
@pytest.mark.parametrize("partition", range(COUNT))
def test_session_is_found_with_the_ruling_on_one_that_it_hangs_on(
    store: PartitionedStore, partition: int, elsewhere: int
) -> None:
    """The sid at a provider falls anywhere: in the session's own partition, the first, or another."""
    link = digest_of("provider", "sid", SIDS[elsewhere])
    session = put(partition)
    assert store.write((), time.time(), (replace(session, handles=(*session.handles, link)),)) is not None
    store.write([Change(link, revoked=True)], time.time())
    for facts in (store.look_up((), (SIDS[partition],)), store.sessions_of(user_of(partition))):
        (found,) = facts.sessions
        assert found is not None and [ruling is not None for ruling in found.rulings] == [False, False, False, True]
    store.parts[elsewhere].feed().lose(store.parts[elsewhere].workers()[0].name)
    assert not store.look_up((), (SIDS[partition],)).epoch.is_healed


@pytest.mark.parametrize("partition", range(COUNT))
def test_session_is_stamped_with_a_position_of_the_first_partition(store: PartitionedStore, partition: int) -> None:
    """Cut-offs stand there: a login right after one lives, one right before it does not."""
    store.write([Change(SUBJECT, cuts_off=True)], time.time())
    written = store.write((), time.time(), (put(partition),), Guard(not_revoked=(SUBJECT,)))
    assert written is not None and written.partition == partition
    epoch, end, _ = store.parts[0].workers()
    assert written.stamp == f"{epoch.name}:{end.position}" == f"{epoch.name}:1"
    (session,) = store.look_up((), (SIDS[partition],)).sessions
    assert session is not None and session.stamp == written.stamp


@pytest.mark.parametrize("partition", range(COUNT))
def test_guard_holds_wherever_its_handles_stand(store: PartitionedStore, partition: int) -> None:
    """A suspended subject gets no session; nothing is written then."""
    store.write([Change(SUBJECT, revoked=True)], time.time())
    assert store.write((), time.time(), (put(partition),), Guard(not_revoked=(SUBJECT,))) is None
    assert store.look_up((), (SIDS[partition],)).sessions == (None,)


@pytest.mark.parametrize("partition", range(COUNT))
def test_guard_on_the_list_is_kept_in_the_step_itself(store: PartitionedStore, partition: int) -> None:
    """Two logins that saw the same list: one comes first."""
    assert store.write((), time.time(), (put(partition),)) is not None
    guard = Guard(not_revoked=(SUBJECT,), user=user_of(partition), sids=frozenset())
    other = put(partition, sid=next(str(n) for n in range(99, 999) if partition_of_session(str(n), COUNT) == partition))
    assert store.write((), time.time(), (other,), guard) is None
    assert store.write((), time.time(), (other,), replace(guard, sids=frozenset({SIDS[partition]}))) is not None


def test_ending_by_subject_cuts_off_first(store: PartitionedStore) -> None:
    """If the session cannot be taken away the call raises, and it is dead by the cut-off all the same."""
    assert store.write((), time.time(), (put(2),)) is not None

    def fails(*_: object) -> None:
        raise StoreUnavailable("partition 2 is away")

    store.parts[2].write = fails  # type: ignore[method-assign, assignment]
    with pytest.raises(StoreUnavailable):
        store.write([Change(SUBJECT, cuts_off=True)], time.time(), (SessionChange(SIDS[2], user_of(2)),))
    (session,) = store.look_up((), (SIDS[2],)).sessions
    assert session is not None and session.rulings[2] is not None
    assert Ruling.decode(session.rulings[2]).not_before is not None


def test_one_unhealed_partition_makes_the_answer_unhealed(store: PartitionedStore) -> None:
    """L2: what it may lack cannot be known, and only those who ask it are told so."""
    store.parts[1].feed().lose(store.parts[1].workers()[0].name)
    healed: dict[int, Facts] = {partition: store.look_up([JTIS[partition]]) for partition in range(COUNT)}
    assert {partition: facts.epoch.is_healed for partition, facts in healed.items()} == {0: True, 1: False, 2: True}


def test_everything_else_concerns_all(store: PartitionedStore) -> None:
    """A weakness of one is told once for all; closing closes each."""
    assert len(store.audit()) == 1
    store.close()
    store.reset_after_fork()
    assert store.feed().read("0", 0, 10) == ()


@pytest.mark.parametrize("short", range(COUNT))
def test_write_that_falls_short_in_one_partition_is_made_in_all(
    store: PartitionedStore, monkeypatch: pytest.MonkeyPatch, short: int
) -> None:
    """It stands there, so it must stand everywhere; the error tells all of it."""
    write = store.parts[short].write

    def fall_short(*arguments: object) -> None:
        written = write(*arguments)  # type: ignore[arg-type]
        assert written is not None
        raise NotDurable(written, "too few replicas")

    monkeypatch.setattr(store.parts[short], "write", fall_short)
    with pytest.raises(NotDurable, match="too few replicas") as caught:
        store.write([Change(digest, revoked=True) for digest in JTIS], time.time())
    assert rulings_in(store) == [1, 1, 1]
    assert [(part.partition, len(part.rulings)) for part in caught.value.written.parts] == [(0, 1), (1, 1), (2, 1)]


@pytest.mark.parametrize("partition", range(COUNT))
def test_nothing_is_written_where_the_first_partition_refuses(
    store: PartitionedStore, partition: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It alone knows how many partitions there are: nobody would look for a ruling in one that a mistake has made."""

    def refuses(*_: object) -> None:
        raise StoreUnavailable("the store was made with another number")

    for name in ("look_up", "write"):
        monkeypatch.setattr(store.parts[0], name, refuses)
    with pytest.raises(StoreUnavailable):
        store.write([Change(JTIS[partition], revoked=True)], time.time())
    assert rulings_in(store) == [0, 0, 0]


@pytest.mark.parametrize(("place", "kind"), [(0, NotWritten), (2, StoreUnavailable)])
def test_nothing_was_written_only_while_no_partition_has_any(
    store: PartitionedStore, monkeypatch: pytest.MonkeyPatch, place: int, kind: type[StoreUnavailable]
) -> None:
    """A later one that cannot be reached says nothing about those before it."""

    def refuse(*_: object) -> None:
        raise NotWritten("connection refused")

    monkeypatch.setattr(store.parts[place], "write", refuse)
    with pytest.raises(StoreUnavailable) as caught:
        store.write([Change(digest, revoked=True) for digest in (JTIS[2], SUBJECT)], time.time())
    assert type(caught.value) is kind
