"""Every way of invalidating a token that people describe, by configuration alone: one test a row of the README's table.

Each row runs on two real worker processes over one Valkey, mostly uvicorn with Starlette beside gunicorn with Flask. A user
logs in on two devices, and a loop of requests on both workers shows who is refused, who is not, and from when on.
"""

from __future__ import annotations

import base64
import importlib.util
import signal
import socket
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from conftest import SQL_SERVERS, sql_url
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from servers import Server, valkey_binary
from sqlalchemy import text
from strategies.database import FRESH_SECONDS, key_of
from strategies.relations import Relations
from strategies.serving import SECRET, Device, House, Pair
from strategies.traffic import Traffic

from jwtgate import Gate, Settings
from jwtgate.core.rulings import MARGIN_SECONDS
from jwtgate.errors import BadSignature

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from databases import Database
    from strategies.serving import Answer, Worker

pytestmark = pytest.mark.server

LEASE_SECONDS = 1.0
"""The default: what is not waited for holds after it at the latest."""

OTHER_SECRET = "another secret, which also has more than thirty-two bytes"

PURGED_SECONDS = 20.0
"""Each follower looks about every five."""


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """One Valkey, and on it a pair of workers for each configuration that a row asks for."""
    house = House()
    yield house
    house.close()


def claims_of(device: Device) -> dict[str, Any]:
    """Those of the access token, which came from a worker a moment ago."""
    claims: dict[str, Any] = jwt.decode(device.access_token, options={"verify_signature": False})
    return claims


def answers(pair: Pair, device: Device, path: str = "/me") -> list[Answer]:
    """One of each worker."""
    return [worker.ask("GET", path, device) for worker in pair.workers]


def statuses(pair: Pair, device: Device, path: str = "/me") -> set[int]:
    """One where both workers say the same."""
    return {answer.status for answer in answers(pair, device, path)}


# --- 1 to 4: lists of tokens


def test_01_denylist_of_jti_in_redis_entry_gone_by_itself_when_the_token_expires(house: House) -> None:
    """One token dies on both workers; its entry ends with it (an hour later, for clocks), and the next write sweeps it."""
    pair = house.pair()
    phone, laptop = pair.devices(pair.user("alice"))
    claims = claims_of(phone)
    with pair.store.client() as redis:

        def entries() -> dict[bytes, float]:
            return dict(redis.zrange(f"{{{pair.prefix}:0}}:until", 0, -1, withscores=True))

        others = entries()
        with Traffic(pair, phone=phone, laptop=laptop) as traffic:
            receipt = pair.operate("revoke", jti=claims["jti"], expires_at=claims["exp"])
        assert receipt.effective_everywhere
        traffic.refused("phone")
        traffic.admitted("laptop")
        ((entry, end),) = entries().items() - others.items()
        assert end == claims["exp"] + MARGIN_SECONDS

        pair.operate("revoke", jti="expired", expires_at=time.time() - MARGIN_SECONDS - 1)
        ((expired, _),) = [pair for pair in entries().items() if pair[1] < time.time()]
        assert redis.hexists(f"{{{pair.prefix}:0}}:rulings", expired)
        pair.workers[1].operate("revoke", jti="the next")
        assert expired not in entries()
        assert not redis.hexists(f"{{{pair.prefix}:0}}:rulings", expired)
        assert entries()[entry] == end
    assert statuses(pair, phone) == {401}


def test_02_allowlist_of_issued_tokens_in_redis() -> None:
    """A token of no session is refused; destroying one session ends it alone; lost data admit nobody, and are not called a logout."""
    with closing(House()) as house:
        pair = house.pair(VALIDITY="allowlist")
        phone, laptop = pair.devices(pair.user("alice"))
        unknown = [
            Device(pair.gate.issue(phone.subject)),
            Device(pair.gate.issue(phone.subject, claims={"device": "phone"})),
            Device(jwt.encode({**claims_of(phone), "sid": base64.urlsafe_b64encode(bytes(16)).rstrip(b"=").decode()}, SECRET)),
            Device(jwt.encode({**claims_of(phone), "sub": "mallory"}, SECRET)),
        ]
        assert [statuses(pair, each) for each in unknown] == [{401}] * 4
        with Traffic(pair, phone=phone, laptop=laptop) as traffic:
            receipt = pair.workers[0].operate("sessions.end", phone.sid)
        assert receipt.effective_everywhere
        traffic.refused("phone")
        traffic.admitted("laptop")
        with Traffic(pair, laptop=laptop) as traffic, pair.store.client() as redis:
            redis.flushall()
            traffic.moment_is(time.time() + LEASE_SECONDS)
        traffic.refused("laptop", status=503)
        assert statuses(pair, phone) == {401}
        while {worker.status()["store"] for worker in pair.workers} != {"up"}:
            assert statuses(pair, laptop) == {503}
        assert statuses(pair, laptop) == {503}, "healed: whose session was lost still cannot be known"
        assert pair.refresh(laptop) == 503
        assert pair.operate("revoke", everything=True).effective_everywhere
        assert statuses(pair, laptop) == {401}
        assert pair.refresh(laptop) == 400
        assert statuses(pair, pair.log_in(phone.subject)) == {200}


@pytest.fixture(params=["sqlite", *SQL_SERVERS])
def sql(request: pytest.FixtureRequest, tmp_path: Path, running_databases: dict[str, Database]) -> Iterator[Relations]:
    """The application's own database, in which the gate's tables stand, too."""
    relations = Relations(sql_url(request.param, tmp_path, running_databases))
    relations.make()
    yield relations
    relations.close()


def in_sql(sql: Relations) -> dict[str, str]:
    """Settings of the gate. Tables with this prefix are emptied before each test."""
    return {"STORE": sql.engine.url.render_as_string(hide_password=False), "PREFIX": "jwtgate_rows"}


def test_03_table_of_invalidated_tokens_in_sql_purged_of_what_has_expired(sql: Relations) -> None:
    """As row 1, in a table. What has expired is gone from it by itself, while nobody asks the workers anything; the rest stays."""
    with closing(House()) as house:
        pair = house.pair(**in_sql(sql))
        phone, laptop = pair.devices(pair.user("alice"))
        claims = claims_of(phone)

        def rows() -> dict[bytes, float]:
            with sql.engine.connect() as connection:
                found = connection.execute(text("SELECT digest, until FROM jwtgate_rows_rulings"))
                return {bytes(digest): until for digest, until in found}

        with Traffic(pair, phone=phone, laptop=laptop) as traffic:
            receipt = pair.operate("revoke", jti=claims["jti"], expires_at=claims["exp"])
        assert receipt.effective_everywhere
        traffic.refused("phone")
        traffic.admitted("laptop")
        ((entry, end),) = rows().items()
        assert end == claims["exp"] + MARGIN_SECONDS

        for number in range(3):
            pair.operate("revoke", jti=f"expired {number}", expires_at=time.time() - 2 * MARGIN_SECONDS)
        written, deadline = set(rows()), time.monotonic() + PURGED_SECONDS
        while len(rows()) > 1:
            assert time.monotonic() < deadline, "not purged"
            time.sleep(0.1)
        assert len(written) > 1, "they were there"
        assert rows() == {entry: end}
        assert [statuses(pair, phone), statuses(pair, laptop)] == [{401}, {200}]


def test_04_table_of_issued_tokens_in_sql_related_to_the_user(sql: Relations) -> None:
    """Log out one, log out all, delete the user and all go: on both workers with the commit of the one row, new tokens too."""
    with closing(House()) as house:
        pair = house.pair(**in_sql(sql), VALIDITY="allowlist", APP_RELATIONS=in_sql(sql)["STORE"])
        alice, bob_name, carol = (pair.user(name) for name in ("alice", "bob", "carol"))
        for name in (alice, bob_name, carol):
            sql.add_user(name)
        phone, laptop = pair.devices(alice)
        bob = pair.log_in(bob_name)
        loose = Device(pair.gate.issue(alice))
        assert statuses(pair, loose) == {401}, "of no session that was issued"
        with Traffic(pair, phone=phone, laptop=laptop, bob=bob) as traffic:
            receipt = pair.operate("sessions.end", phone.sid)
        assert receipt.effective_everywhere
        traffic.refused("phone")
        traffic.admitted("laptop", "bob")
        with Traffic(pair, laptop=laptop, bob=bob) as traffic:
            receipt = pair.operate("sessions.end_all", alice)
        assert receipt.effective_everywhere
        traffic.refused("laptop")
        traffic.admitted("bob")

        phone, laptop = pair.devices(carol)
        assert sql.issued_to(carol) == {phone.sid, laptop.sid}
        with Traffic(pair, phone=phone, laptop=laptop, bob=bob) as traffic:
            sql.delete_user(carol)
            traffic.moment_is(time.time())
        traffic.refused("phone", "laptop")
        traffic.admitted("bob")
        assert sql.issued_to(carol) == set()
        assert [pair.refresh(phone), pair.refresh(laptop, 1), pair.refresh(bob, 1)] == [400, 400, 200]
        assert {pair.attempt(carol, worker).status for worker in (0, 1)} == {403}
        assert statuses(pair, bob) == {200}


# --- 5 to 12: what happens to a user


def test_05_login_status_of_the_user_out_means_every_token_of_that_user(house: House) -> None:
    """The user leaves on one device: out on all. Back in by a new login only: the old tokens stay dead."""
    pair = house.pair()
    alice = pair.user("alice")
    phone, laptop = pair.devices(alice)
    bob = pair.log_in(pair.user("bob"))
    with Traffic(pair, phone=phone, laptop=laptop, bob=bob) as traffic:
        answer = pair.workers[1].ask("POST", "/log-out-everywhere", phone)
    assert answer.json["effective_everywhere"]
    traffic.refused("phone", "laptop")
    traffic.admitted("bob")
    assert [pair.refresh(phone), pair.refresh(laptop, 1), pair.refresh(bob)] == [400, 400, 200]
    assert statuses(pair, pair.log_in(alice)) == {200}
    assert [statuses(pair, phone), statuses(pair, laptop)] == [{401}, {401}]


def test_06_short_access_token_and_stored_refresh_token(house: House) -> None:
    """Logout kills the refresh token, and here the access token too. Unless it is killed, the short one is followed by another."""
    pair = house.pair(ENDPOINTS="/auth", ACCESS_TTL="6")
    phone, laptop = pair.devices(pair.user("alice"))
    with Traffic(pair, phone=phone, laptop=laptop) as traffic:
        answer = pair.workers[0].ask("POST", "/auth/logout", phone)
    assert answer.status == 200 and answer.json["effective_everywhere"]
    traffic.refused("phone")
    traffic.admitted("laptop")

    def refresh(device: Device, worker: int) -> Answer:
        return pair.workers[worker].ask("POST", "/auth/refresh", form={"refresh_token": device.refresh_token})

    assert [(refresh(phone, each).status, refresh(phone, each).json["error"]) for each in (0, 1)] == [
        (400, "invalid_grant")
    ] * 2
    expires_at = claims_of(laptop)["exp"]
    while time.time() < expires_at:
        began_at = time.time()
        found = statuses(pair, laptop)
        assert found == {200} or time.time() >= expires_at, f"refused before its time: {found} at {began_at - expires_at}"
    assert statuses(pair, laptop) == {401}
    laptop.take(refresh(laptop, 1))
    assert statuses(pair, laptop) == {200}


def test_07_token_version_of_the_user_bump_it_and_older_ones_are_dead(house: House) -> None:
    """The version stands in the user's row and in the tokens; one that lacks it is as old as can be."""
    pair = house.pair(VERSION_CLAIM="ver")
    alice = pair.user("alice", claims={"ver": 1})
    phone, laptop = pair.devices(alice)
    bob = pair.log_in(pair.user("bob", claims={"ver": 1}))
    unversioned = Device(pair.gate.issue(alice))
    with Traffic(pair, phone=phone, laptop=laptop, unversioned=unversioned, bob=bob) as traffic:
        pair.database.put(alice, claims={"ver": 2})
        receipt = pair.operate("require_version", alice, 2)
    assert receipt.effective_everywhere
    traffic.refused("phone", "laptop", "unversioned")
    traffic.admitted("bob")
    assert statuses(pair, pair.log_in(alice)) == {200}
    assert pair.refresh(phone, 1) == 200, "the row says 2 by now, and so does the new token"
    assert statuses(pair, phone) == {200}


def test_08_tokens_issued_before_the_last_logout_or_password_change_are_dead(house: House) -> None:
    """One that is issued right after lives: within the same second, on the other worker."""
    pair = house.pair()
    alice = pair.user("alice")
    bob = pair.log_in(pair.user("bob"))
    for _ in range(10):
        phone, laptop = pair.devices(alice)
        with Traffic(pair, phone=phone, laptop=laptop, bob=bob) as traffic:
            receipt = pair.workers[0].operate("revoke", sub=alice)
            traffic.moment_is(time.time())
            successor = pair.log_in(alice, 1)
        assert receipt.effective_everywhere
        traffic.refused("phone", "laptop")
        traffic.admitted("bob")
        assert statuses(pair, successor) == {200}
        assert [pair.refresh(phone), pair.refresh(laptop, 1), pair.refresh(successor)] == [400, 400, 200]
        if int(receipt.at) == claims_of(successor)["auth_time"]:
            break
    else:
        pytest.fail("never within one second: the machine is too slow to show it")


def test_09_roles_changed_old_access_tokens_are_dead_the_session_refreshes_with_the_new_roles(house: House) -> None:
    """The application is asked at each refresh; nobody has to log in again."""
    pair = house.pair()
    alice = pair.user("alice", scope="read write", claims={"role": "editor"})
    phone, laptop = pair.devices(alice)
    bob = pair.log_in(pair.user("bob", scope="read write"))
    assert answers(pair, phone)[1].json["scopes"] == ["read", "write"]
    pair.database.put(alice, scope="read", claims={"role": "reader"})
    with Traffic(pair, phone=phone, laptop=laptop, bob=bob) as traffic:
        receipt = pair.operate("revoke", sub=alice, access_only=True)
    assert receipt.effective_everywhere
    traffic.refused("phone", "laptop")
    traffic.admitted("bob")
    for number, device in enumerate((phone, laptop)):
        assert pair.refresh(device, number) == 200
        for answer in answers(pair, device):
            assert answer.json["scopes"] == ["read"]
            assert answer.json["claims"]["role"] == "reader"
    assert statuses(pair, phone) == statuses(pair, laptop) == {200}


def test_10_one_login_at_a_time_the_second_ends_the_first(house: House) -> None:
    """From one lease after the second login at the latest; the first cannot refresh either."""
    pair = house.pair(MAX_SESSIONS="1")
    alice = pair.user("alice")
    phone, bob = pair.log_in(alice, 0), pair.log_in(pair.user("bob"), 1)
    with Traffic(pair, phone=phone, bob=bob) as traffic:
        laptop = pair.log_in(alice, 1, device="laptop")
        traffic.moment_is(time.time() + LEASE_SECONDS)
    traffic.refused("phone")
    traffic.admitted("bob")
    assert statuses(pair, laptop) == {200}
    assert [session.device for session in pair.gate.sessions.list(alice)] == ["laptop"]
    assert [pair.refresh(phone, 1), pair.refresh(laptop, 0)] == [400, 200]


def test_11_user_deleted_or_suspended_is_refused_new_logins_too_until_reinstated(house: House) -> None:
    """Suspended: what was, is again once it is lifted. Deleted: the tokens too stay dead, if the name is given back."""
    pair = house.pair()
    suspended, deleted = pair.user("suspended"), pair.user("deleted")
    phone, laptop = pair.devices(suspended)
    gone, bob = pair.log_in(deleted, 1), pair.log_in(pair.user("bob"))
    with Traffic(pair, phone=phone, laptop=laptop, gone=gone, bob=bob) as traffic:
        receipts = [
            pair.workers[1].operate("suspend", suspended),
            pair.operate("suspend", deleted),
            pair.operate("revoke", sub=deleted),
        ]
    assert all(receipt.effective_everywhere for receipt in receipts)
    traffic.refused("phone", "laptop", "gone")
    traffic.admitted("bob")
    assert {pair.attempt(user, worker).status for user in (suspended, deleted) for worker in (0, 1)} == {400}
    assert [pair.refresh(phone), pair.refresh(gone), pair.refresh(bob)] == [400, 400, 200]
    for user in (suspended, deleted):
        assert pair.operate("reinstate", user).effective_everywhere
        assert [statuses(pair, pair.log_in(user, worker)) for worker in (0, 1)] == [{200}, {200}]
    assert [statuses(pair, phone), statuses(pair, gone)] == [{200}, {401}]
    assert [pair.refresh(laptop, 1), pair.refresh(gone)] == [200, 400]


def test_12_everything_issued_before_now_for_everybody(house: House) -> None:
    """Without waiting: it holds from ``effective_by`` on. Whoever logs in afterwards is let in."""
    pair = house.pair()
    alice, bob = pair.user("alice"), pair.user("bob")
    phone, laptop = pair.devices(alice)
    third, loose = pair.log_in(bob, 1), Device(pair.gate.issue(bob))
    with Traffic(pair, phone=phone, laptop=laptop, third=third, loose=loose) as traffic:
        receipt = pair.operate("revoke", everything=True, wait=False)
        assert receipt.effective_by is not None and receipt.effective_by - receipt.at <= LEASE_SECONDS + 0.1
        traffic.moment_is(receipt.effective_by)
        successors = [pair.log_in(bob, 1), pair.log_in(alice, 0), Device(pair.gate.issue(alice))]
    traffic.refused("phone", "laptop", "third", "loose")
    assert [statuses(pair, each) for each in successors] == [{200}] * 3
    assert [pair.refresh(phone), pair.refresh(third, 1), pair.refresh(successors[0])] == [400, 400, 200]


# --- 13 to 16: keys, and claims that name many


def test_13_the_secret_changes_every_old_token_is_dead_also_those_already_cached(house: House) -> None:
    """Workers start again with another secret; the sessions outlive it and refresh into tokens under the new one."""
    with house.own_pair() as pair:
        phone, laptop = pair.devices(pair.user("alice"))
        with Traffic(pair, phone=phone, laptop=laptop) as traffic:
            pass
        traffic.admitted("phone", "laptop")
        pair.restart(JWTGATE_SECRET=OTHER_SECRET)
        assert [statuses(pair, phone), statuses(pair, laptop)] == [{401}, {401}]
        assert statuses(pair, pair.log_in(phone.subject)) == {200}
        assert pair.refresh(laptop, 1) == 200
        assert [statuses(pair, phone), statuses(pair, laptop)] == [{401}, {200}]


def test_13_gate_with_other_keys_does_not_serve_what_another_has_cached(house: House) -> None:
    """Threat 10, in one process: what a gate remembers is its own."""
    pair = house.pair()
    token = pair.log_in(pair.user("alice")).access_token
    old = pair.gate
    new = Gate(Settings(secret=OTHER_SECRET, store=pair.store.url, prefix=pair.prefix))
    try:
        assert old.ready() and new.ready()
        for _ in range(3):
            assert old.verify(token).subject is not None
            with pytest.raises(BadSignature):
                new.verify(token)
        assert old.status().hits >= 2
    finally:
        new.close()


def test_14_secret_per_user_combined_with_a_global_one(house: House) -> None:
    """A digest of the user's secret stands in the tokens as a handle: change the secret, revoke the digest. All: change SECRET."""
    with house.own_pair(HANDLES="user_key") as pair:
        alice, bob = pair.user("alice", secret="one"), pair.user("bob", secret="two")
        phone, laptop = pair.devices(alice)
        third = pair.log_in(bob, 1)
        with Traffic(pair, phone=phone, laptop=laptop, third=third) as traffic:
            pair.database.put(alice, secret="three")
            receipt = pair.operate("revoke", claim=("user_key", key_of("one")))
        assert receipt.effective_everywhere
        traffic.refused("phone", "laptop")
        traffic.admitted("third")
        assert [pair.refresh(phone), pair.refresh(third)] == [400, 200]
        successor = pair.log_in(alice, 1)
        assert statuses(pair, successor) == statuses(pair, third) == {200}
        pair.restart(JWTGATE_SECRET=OTHER_SECRET)
        assert [statuses(pair, each) for each in (phone, laptop, third, successor)] == [{401}] * 4
        assert statuses(pair, pair.log_in(bob)) == {200}


def twin(token: str) -> str:
    """The other signature that ECDSA has for the same bytes: (r, n - s)."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    signed, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    other = order - int.from_bytes(raw[32:], "big")
    return f"{signed}.{base64.urlsafe_b64encode(raw[:32] + other.to_bytes(32, 'big')).rstrip(b'=').decode()}"


def test_15_token_without_jti_killed_by_its_digest_its_re_encoded_twins_die_with_it(house: House) -> None:
    """Tokens that other programs sign with the same keys. Threat 8: no spelling of a token outlives it."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    pair = house.pair(PRIVATE_KEY=pem)
    claims = {"sub": pair.user("alice"), "exp": int(time.time()) + 600}
    signers = {
        "ec_phone": (pem, "ES256"),
        "hs_phone": (SECRET, "HS256"),
        "ec_laptop": (pem, "ES256"),
        "hs_laptop": (SECRET, "HS256"),
    }
    devices = {
        name: Device(jwt.encode({**claims, "device": name[3:]}, key, algorithm)) for name, (key, algorithm) in signers.items()
    }
    twins = {
        "ec_phone_twin": Device(twin(devices["ec_phone"].access_token)),
        "ec_laptop_twin": Device(twin(devices["ec_laptop"].access_token)),
    }
    respelt = [Device(devices[name].access_token + "=" * count) for name in ("ec_phone", "hs_phone") for count in (1, 2)]
    assert [statuses(pair, each) for each in respelt] == [{401}] * 4
    with Traffic(pair, **devices, **twins) as traffic:
        receipts = [
            pair.workers[0].operate("revoke", token=devices["ec_phone"].access_token),
            pair.operate("revoke", token=devices["hs_phone"].access_token),
        ]
    assert all(receipt.effective_everywhere for receipt in receipts)
    traffic.refused("ec_phone", "ec_phone_twin", "hs_phone")
    traffic.admitted("ec_laptop", "ec_laptop_twin", "hs_laptop")
    assert [statuses(pair, each) for each in respelt] == [{401}] * 4
    pair.operate("revoke", token=twins["ec_laptop_twin"].access_token)
    assert statuses(pair, devices["ec_laptop"]) == {401}, "whichever of them is named"
    assert statuses(pair, devices["hs_laptop"]) == {200}


def test_16_groups_or_tenants_one_groups_tokens_die_nobody_elses(house: House) -> None:
    """A claim that names one tenant, and one that names several groups."""
    pair = house.pair(HANDLES="tenant,groups")
    alice = pair.user("alice", claims={"tenant": "acme", "groups": ["day", "night"]})
    phone, laptop = pair.devices(alice)
    colleague = pair.log_in(pair.user("colleague", claims={"tenant": "acme", "groups": ["day"]}), 1)
    stranger = pair.log_in(pair.user("stranger", claims={"tenant": "globex", "groups": ["night"]}))
    with Traffic(pair, phone=phone, laptop=laptop, colleague=colleague, stranger=stranger) as traffic:
        receipt = pair.workers[1].operate("revoke", claim=("tenant", "acme"))
    assert receipt.effective_everywhere
    traffic.refused("phone", "laptop", "colleague")
    traffic.admitted("stranger")
    phone, colleague = pair.log_in(alice), pair.log_in(colleague.subject, 1)
    with Traffic(pair, phone=phone, colleague=colleague, stranger=stranger) as traffic:
        receipt = pair.operate("revoke", claim=("groups", "night"))
    assert receipt.effective_everywhere
    traffic.refused("phone", "stranger")
    traffic.admitted("colleague")


# --- 17 to 24: devices, checks, ways in


def test_17_log_out_on_one_device_the_other_stays_log_out_everywhere_but_here(house: House) -> None:
    """By the endpoints, from whichever device asks."""
    pair = house.pair(ENDPOINTS="/auth")
    alice = pair.user("alice")
    phone, laptop = pair.devices(alice)
    with Traffic(pair, phone=phone, laptop=laptop) as traffic:
        answer = pair.workers[1].ask("POST", "/auth/logout", phone)
    assert answer.status == 200 and answer.json["effective_everywhere"]
    traffic.refused("phone")
    traffic.admitted("laptop")
    phone, tablet = pair.log_in(alice, 1), pair.log_in(alice, 0, device="tablet")
    bob = pair.log_in(pair.user("bob"))
    with Traffic(pair, phone=phone, laptop=laptop, tablet=tablet, bob=bob) as traffic:
        answer = pair.workers[0].ask("POST", "/auth/logout-all", laptop, form={"keep_current": "1"})
    assert answer.status == 200 and answer.json["effective_everywhere"]
    traffic.refused("phone", "tablet")
    traffic.admitted("laptop", "bob")
    for worker in pair.workers:
        listed = worker.ask("GET", "/auth/sessions", laptop).json["sessions"]
        assert [(each["device"], each["current"]) for each in listed] == [("laptop", True)]
    with Traffic(pair, laptop=laptop, bob=bob) as traffic:
        answer = pair.workers[1].ask("DELETE", f"/auth/sessions/{laptop.sid}", laptop)
    assert answer.status == 200 and answer.json["effective_everywhere"]
    traffic.refused("laptop")
    traffic.admitted("bob")


@pytest.mark.parametrize("place", ["header", "cookie"])
def test_18_new_token_after_every_n_requests_of_a_session_the_old_one_dead(house: House, place: str) -> None:
    """It comes back in a response header or as a cookie; on other workers the old one dies within a lease of that answer."""
    every = 10
    pair = house.pair(ROTATE_AFTER=str(every), LOCATIONS="header,cookie", COOKIE="pass", COOKIE_SECURE="0")
    phone, laptop = pair.devices(pair.user("alice"))
    if place == "header":
        phone.cookies, laptop.cookies = {}, {}
    serving, other = pair.workers
    for _ in range(2):
        old = replace(phone, cookies=dict(phone.cookies))
        assert other.ask("GET", "/me", old).status == 200
        brought = count = 0
        while not brought:
            answer = serving.ask("GET", "/me", phone)
            count += 1
            assert answer.status == 200 and count < 3 * every
            brought = len(answer.headers.get("x-access-token" if place == "header" else "set-cookie", []))
        dead_at = time.time() + LEASE_SECONDS
        assert brought == 1 and count >= every
        assert serving.ask("GET", "/me", old).status == 401
        phone.take(answer)
        phone.access_token = answer.headers.get("x-access-token", [phone.access_token])[0]
        assert phone.headers != old.headers
        while (began_at := time.time()) < dead_at + 0.1:
            status = other.ask("GET", "/me", old).status
            assert status == 401 or began_at < dead_at
        assert other.ask("GET", "/me", phone).status == 200
        assert statuses(pair, laptop) == {200}
    assert statuses(pair, phone) == {200}
    assert pair.operate("sessions.end", phone.sid).effective_everywhere
    assert [statuses(pair, phone), statuses(pair, laptop)] == [{401}, {200}]


def test_19_password_asked_again_after_a_time(house: House) -> None:
    """Where a page wants a fresh login an old one is told so (RFC 9470); everywhere else it is still good."""
    pair = house.pair(APP_CHECKS="fresh_login")
    alice = pair.user("alice")
    phone, laptop = pair.devices(alice)
    ends_at = max(claims_of(each)["auth_time"] for each in (phone, laptop)) + FRESH_SECONDS
    assert statuses(pair, laptop, "/account") == {200}
    with Traffic(pair, phone=phone, laptop=laptop) as traffic:
        traffic.moment_is(ends_at)
    traffic.admitted("phone", "laptop")
    for device in (phone, laptop):
        for answer in answers(pair, device, "/account"):
            assert answer.status == 401
            assert 'error="insufficient_user_authentication"' in answer.headers["www-authenticate"][0]
            assert f'max_age="{FRESH_SECONDS}"' in answer.headers["www-authenticate"][0]
    assert pair.refresh(phone, 1) == 200
    assert statuses(pair, phone, "/account") == {401}, "a refresh asks for no password"
    assert statuses(pair, pair.log_in(alice), "/account") == {200}
    assert [statuses(pair, phone), statuses(pair, laptop)] == [{200}, {200}]


def test_20_token_bound_to_the_clients_address(house: House) -> None:
    """What is stolen is worth nothing elsewhere, also where it was admitted a moment ago."""
    pair = house.pair(APP_CHECKS="client_address")
    alice = pair.user("alice")
    phone, laptop = pair.log_in(alice, 0), pair.log_in(alice, 1, device="laptop", address="127.0.0.2")
    with Traffic(pair, phone=phone, laptop=laptop) as traffic:
        stolen = [Device(phone.access_token, address="127.0.0.2"), Device(laptop.access_token, address="127.0.0.1")]
        found = [statuses(pair, each) for each in stolen for _ in range(20)]
    assert found == [{401}] * 40
    traffic.admitted("phone", "laptop")


def test_21_own_check_before_verification_own_check_after_it(house: House) -> None:
    """Before: turned away unread, forged or not. Both are asked about every request: a change holds from the next one on."""
    pair = house.pair(APP_CHECKS="before,after")
    tenant, other = f"tenant of {pair.prefix}", "another tenant"
    alice = pair.user("alice", claims={"tenant": tenant})
    phone, laptop = pair.devices(alice)
    third = pair.log_in(pair.user("carol", claims={"tenant": other}))
    with Traffic(pair, "/account", phone=phone, laptop=laptop, third=third) as traffic:
        pair.database.put(alice, is_on_leave=True)
    traffic.refused("phone", "laptop")
    traffic.admitted("third")
    assert statuses(pair, phone) == {200}, "the same token, where the check lets it pass"
    pair.database.put(alice, is_on_leave=False)
    with Traffic(pair, "/account", phone=phone, laptop=laptop, third=third) as traffic:
        pair.database.put(f"tenant {tenant}", is_closed=True)
    traffic.refused("phone", "laptop")
    traffic.admitted("third")
    unseen, forged = pair.log_in(alice), Device(jwt.encode(claims_of(phone), OTHER_SECRET))
    for worker in pair.workers:
        before = worker.status()
        assert [worker.ask("GET", "/me", each).status for each in (unseen, forged)] == [401, 401]
        after = worker.status()
        grown = {reason: count - before["refused"].get(reason, 0) for reason, count in after["refused"].items()}
        assert {reason: count for reason, count in grown.items() if count} == {"refused_by_check": 2}
        assert after["look_ups"] == before["look_ups"]


def handshake(worker: Worker, device: Device) -> int:
    """The status of the answer to a WebSocket handshake (RFC 6455 §4.1)."""
    lines = [
        *("GET /greet HTTP/1.1", f"Host: 127.0.0.1:{worker.port}", "Connection: Upgrade", "Upgrade: websocket"),
        *("Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}"),
        *(f"{name}: {value}" for name, value in device.headers.items()),
    ]
    with socket.create_connection(("127.0.0.1", worker.port), timeout=10) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        received = b""
        while b"\r\n" not in received:
            piece = connection.recv(4096)
            assert piece, "closed without an answer"
            received += piece
    return int(received.split(b" ")[1])


def test_22_one_session_over_http_and_over_a_websocket_ended_both_are_refused(house: House) -> None:
    """One decision for both: a handshake that begins after the receipt is refused before it is accepted."""
    assert importlib.util.find_spec("wsproto") is not None, "wsproto is a test dependency"
    pair = house.pair(workers=("uvicorn", "uvicorn"))
    phone, laptop = pair.devices(pair.user("alice"))
    assert {handshake(worker, each) for worker in pair.workers for each in (phone, laptop)} == {101}
    with Traffic(pair, phone=phone, laptop=laptop) as traffic:
        receipt = pair.operate("sessions.end", phone.sid)
        found = [(handshake(worker, phone), handshake(worker, laptop)) for _ in range(10) for worker in pair.workers]
    assert receipt.effective_everywhere
    assert found == [(401, 101)] * 20
    traffic.refused("phone")
    traffic.admitted("laptop")


def test_23_token_in_a_cookie_of_the_operators_own_name_not_in_the_header(house: House) -> None:
    """The login sets it, requests are admitted by it, and a header is no way in."""
    pair = house.pair(LOCATIONS="cookie", COOKIE="pass", COOKIE_SECURE="0")
    phone, laptop = pair.devices(pair.user("alice"))
    assert set(phone.cookies) == {"pass", "refresh_token"}
    assert [answer.json["source"] for answer in answers(pair, phone)] == ["cookie", "cookie"]
    assert statuses(pair, Device(phone.access_token)) == {401}
    assert statuses(pair, Device("", cookies={"access_token": phone.access_token})) == {401}
    with Traffic(pair, phone=phone, laptop=laptop) as traffic:
        receipt = pair.workers[1].operate("sessions.end", phone.sid)
    assert receipt.effective_everywhere
    traffic.refused("phone")
    traffic.admitted("laptop")


def test_24_revocations_known_in_memory_at_once_after_a_restart_and_kept_current_with_no_look_up_per_request(
    house: House,
) -> None:
    """Each worker is killed and started again in turn; what was revoked before, meanwhile and afterwards it knows by itself."""
    with house.own_pair() as pair:
        alice = pair.user("alice")
        for number, worker in enumerate(pair.workers):
            devices = [pair.log_in(alice, each) for each in (0, 1, 0, 1)]
            before, meanwhile, afterwards, living = devices
            pair.operate("revoke", sid=before.sid)
            worker.stop(signal.SIGKILL)
            assert pair.operate("revoke", sid=meanwhile.sid).effective_everywhere
            worker.start(pair.environ)
            worker.wait()
            known = worker.status()
            assert known["complete"] and known["rulings"] >= 2
            with Traffic(pair, afterwards=afterwards, living=living) as traffic:
                assert [worker.ask("GET", "/me", each).status for each in (before, meanwhile) for _ in range(10)] == [401] * 20
                assert pair.workers[1 - number].operate("revoke", sid=afterwards.sid).effective_everywhere
            traffic.refused("afterwards")
            traffic.admitted("living")
            asked = sum(each.worker == number for each in traffic.asked)
            grown = worker.status()["look_ups"] - known["look_ups"]
            assert grown <= asked // 20, f"{grown} look-ups for {asked} requests: only a lease that lapsed may cost one"
