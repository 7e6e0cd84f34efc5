"""What becomes of a file: the lines, what is left, and that nothing in it is run or believed that is not written out."""

from __future__ import annotations

from typing import Any

import pytest

from jwtgate.moving import PACKAGES, Carried, Unreadable, carry
from jwtgate.moving.python_text import STAR, Computed
from jwtgate.moving.reading import read

SECRET = "a-secret-of-at-least-32-bytes-for-hs256"


def carried(name: str, text: str, suffix: str = ".py") -> Carried:
    """Of a file of that package's settings."""
    return carry(PACKAGES[name], text, suffix)


def lines_of(found: Carried) -> dict[str, str]:
    """By variable, each of which stands once."""
    assert len({line.variable for line in found.lines}) == len(found.lines)
    return {line.variable: line.value for line in found.lines}


def left_of(found: Carried) -> dict[str, bool]:
    """By name: whether it matters."""
    return {left.name: left.matters for left in found.left}


# --- reading


@pytest.mark.parametrize(
    "text",
    [
        f"JWT_SECRET_KEY = '{SECRET}'",
        f"KEY = '{SECRET}'\nJWT_SECRET_KEY = KEY",
        f"JWT_SECRET_KEY: str = '{SECRET}'",
        f"class Config:\n    JWT_SECRET_KEY = '{SECRET}'",
        f"app.config['JWT_SECRET_KEY'] = '{SECRET}'",
        f"def create_app():\n    app.config.update(JWT_SECRET_KEY='{SECRET}')",
        f"app.config.from_mapping({{'JWT_SECRET_KEY': '{SECRET}'}})",
        f"app.config |= {{}}\nJWT_SECRET_KEY = '{SECRET}'",
        f"auth = AuthX(config=AuthXConfig(JWT_SECRET_KEY='{SECRET}'))",
        f"config = AuthXConfig()\nconfig.JWT_SECRET_KEY = '{SECRET}'",
    ],
)
def test_what_is_written_out_is_read(text: str) -> None:
    """Wherever it is assigned."""
    assert read(text, ".py")["JWT_SECRET_KEY"] == SECRET


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("JWT_SECRET_KEY = os.environ['APP_KEY']", "APP_KEY"),
        ("JWT_SECRET_KEY = os.getenv('APP_KEY', 'x')", "APP_KEY"),
        ("JWT_SECRET_KEY = config('APP_KEY')", "APP_KEY"),
        ("JWT_SECRET_KEY = open('key').read()", "computed"),
        ("JWT_SECRET_KEY = make()", "computed"),
        ("JWT_SECRET_KEY = 'a' * 10**9", "computed"),
        ("JWT_SECRET_KEY = f'{x}'", "computed"),
        ("JWT_SECRET_KEY = 'a' if DEBUG else 'b'", "computed"),
        ("JWT_SECRET_KEY = unknown", "computed"),
        ("JWT_SECRET_KEY = JWT_SECRET_KEY", "computed"),
        ("if DEBUG:\n    JWT_SECRET_KEY = 'a'", "under a condition"),
        ("JWT_SECRET_KEY = 'a'\nif DEBUG:\n    JWT_SECRET_KEY = 'b'", "under a condition"),
        ("class Dev:\n    JWT_SECRET_KEY = 'a'\nclass Live:\n    JWT_SECRET_KEY = 'b'", "under a condition"),
        ("JWT_SECRET_KEY = 'a'\nJWT_SECRET_KEY += 'b'", "under a condition"),
        ("JWT_SECRET_KEY, other = 'a', 'b'", "under a condition"),
        ("from secret import JWT_SECRET_KEY", "under a condition"),
        ("try:\n    JWT_SECRET_KEY = 'a'\nexcept OSError:\n    pass", "under a condition"),
    ],
)
def test_what_is_not_written_out_is_not_guessed(text: str, why: str) -> None:
    """It is said to be computed, and matters."""
    found = read(text, ".py")["JWT_SECRET_KEY"]
    assert isinstance(found, Computed)
    assert why in found.why
    told = carried("flask-jwt-extended", text)
    assert "SECRET" not in lines_of(told)
    assert left_of(told)["JWT_SECRET_KEY"]


def test_file_is_never_run(tmp_path: Any) -> None:
    """What it would do, it does not do."""
    mark = tmp_path / "run"
    read(f"open({str(mark)!r}, 'w')\n__import__('os').mkdir({str(mark)!r})\nJWT_SECRET_KEY = open({str(mark)!r}, 'w')", ".py")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("text", "suffix"),
    [
        ("JWT_SECRET_KEY = ", ".py"),
        ("x = " + "(" * 5000 + ")" * 5000, ".py"),
        ("x = " + "-" * 200_000 + "1", ".py"),
        ("\0", ".py"),
        ("{", ".json"),
        ("[]", ".json"),
        ("[" * 200_000, ".json"),
        ("a = [", ".toml"),
    ],
)
def test_what_cannot_be_read_is_one_error(text: str, suffix: str) -> None:
    """Which repeats nothing of the file."""
    with pytest.raises(Unreadable, match=r"can be read") as raised:
        read(text, suffix)
    assert len(str(raised.value)) < 80


@pytest.mark.parametrize(
    ("text", "suffix"),
    [
        ('{"JWT_ACCESS_TOKEN_EXPIRES": 60, "JWT_TOKEN_LOCATION": ["cookies"], "JWT_SECRET_KEY": "1"}', ".json"),
        ('JWT_ACCESS_TOKEN_EXPIRES = 60\nJWT_TOKEN_LOCATION = ["cookies"]\nJWT_SECRET_KEY = "1"', ".toml"),
        (
            "# x\nexport jwt_access_token_expires=60\nFLASK_JWT_TOKEN_LOCATION='[\"cookies\"]'\nJWT_SECRET_KEY=1\nno line",
            ".env",
        ),
    ],
)
def test_documents_and_lines_say_the_same(text: str, suffix: str) -> None:
    """JSON, TOML, and what stands in the environment; a key is a text, whatever it looks like."""
    found = read(text, suffix)
    assert found["JWT_ACCESS_TOKEN_EXPIRES"] == 60
    assert found["JWT_TOKEN_LOCATION"] == ["cookies"]
    assert found["JWT_SECRET_KEY"] == "1"


# --- Flask-JWT-Extended and AuthX


def test_defaults_of_theirs_become_ours() -> None:
    """What differs from our own defaults is written out."""
    flask = lines_of(carried("flask-jwt-extended", f"JWT_SECRET_KEY = '{SECRET}'"))
    assert flask == {"ALGORITHMS": "HS256", "SECRET": SECRET, "ACCESS_TTL": "900", "REFRESH_TTL": "2592000"}
    authx = lines_of(carried("authx", f"JWT_SECRET_KEY = '{SECRET}'"))
    assert authx == {"ALGORITHMS": "HS256", "SECRET": SECRET, "ACCESS_TTL": "900", "REFRESH_TTL": "1728000"}


def test_flasks_own_key_is_taken_where_there_is_no_other() -> None:
    """As Flask-JWT-Extended does; AuthX knows of none."""
    assert lines_of(carried("flask-jwt-extended", f"SECRET_KEY = '{SECRET}'"))["SECRET"] == SECRET
    assert left_of(carried("authx", f"SECRET_KEY = '{SECRET}'"))["JWT_SECRET_KEY"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("JWT_ACCESS_TOKEN_EXPIRES = timedelta(hours=1, minutes=5)", {"ACCESS_TTL": "3900"}),
        ("JWT_ACCESS_TOKEN_EXPIRES = 60 * 60 - 1", {"ACCESS_TTL": "3599"}),
        ("JWT_ACCESS_TOKEN_EXPIRES = datetime.timedelta(days=40)", {"ACCESS_TTL": "3456000", "MAX_TTL": "3456000"}),
        ("JWT_REFRESH_TOKEN_EXPIRES = timedelta(days=2 * 2)", {"REFRESH_TTL": "345600"}),
        ("JWT_ALGORITHM = 'HS512'\nJWT_DECODE_ALGORITHMS = ['HS256', 'HS512']", {"ALGORITHMS": "HS512,HS256"}),
        ("JWT_ENCODE_AUDIENCE = 'shop'", {"AUDIENCE": "shop"}),
        ("JWT_DECODE_AUDIENCE = ['a', 'b']\nJWT_ENCODE_AUDIENCE = 'b'", {"AUDIENCE": "b,a"}),
        ("JWT_DECODE_ISSUER = 'https://id'", {"ISSUER": "https://id"}),
        ("JWT_ENCODE_ISSUER = 'https://id'", {"ISSUER": "https://id"}),
        ("JWT_DECODE_LEEWAY = timedelta(seconds=10)", {"LEEWAY": "10"}),
        ("JWT_IDENTITY_CLAIM = 'uid'", {"HANDLES": "uid"}),
        ("JWT_TOKEN_LOCATION = 'headers'", {}),
        ("JWT_TOKEN_LOCATION = ['cookies']", {"LOCATIONS": "cookie", "COOKIE": "access_token_cookie", "CSRF": "double-submit"}),
        (
            "JWT_TOKEN_LOCATION = ('headers', 'cookies')\nJWT_ACCESS_COOKIE_NAME = 'a'\nJWT_COOKIE_CSRF_PROTECT = False",
            {"LOCATIONS": "header,cookie", "COOKIE": "a"},
        ),
    ],
)
def test_settings_become_ours(text: str, expected: dict[str, str]) -> None:
    """Each with its value; CSRF protection is never switched off."""
    found = carried("flask-jwt-extended", f"JWT_SECRET_KEY = '{SECRET}'\n{text}")
    assert not any(left_of(found).values())
    usual = {"ALGORITHMS": "HS256", "SECRET": SECRET, "ACCESS_TTL": "900", "REFRESH_TTL": "2592000"}
    assert lines_of(found) == {**usual, **expected}


def test_asymmetric_keys_become_ours() -> None:
    """On one line, and no secret beside them."""
    pem = "-----BEGIN PRIVATE KEY-----\\nAAAA\\n-----END PRIVATE KEY-----\\n"
    found = carried("flask-jwt-extended", f"JWT_ALGORITHM = 'RS256'\nJWT_SECRET_KEY = 'x'\nJWT_PRIVATE_KEY = '{pem}'")
    assert lines_of(found)["PRIVATE_KEY"] == pem.removesuffix("\\n")
    assert "SECRET" not in lines_of(found)
    assert left_of(found) == {}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("JWT_ACCESS_TOKEN_EXPIRES = False", "JWT_ACCESS_TOKEN_EXPIRES"),
        ("JWT_ACCESS_TOKEN_EXPIRES = None", "JWT_ACCESS_TOKEN_EXPIRES"),
        ("JWT_ACCESS_TOKEN_EXPIRES = 'PT1H'", "JWT_ACCESS_TOKEN_EXPIRES"),
        ("JWT_ALGORITHM = choose()", "JWT_ALGORITHM"),
        ("JWT_DECODE_AUDIENCE = names()", "JWT_DECODE_AUDIENCE"),
        ("JWT_DECODE_AUDIENCE = 'a'\nJWT_ENCODE_AUDIENCE = 'b'", "JWT_ENCODE_AUDIENCE"),
        ("JWT_DECODE_ISSUER = ['a', 'b']", "JWT_DECODE_ISSUER"),
        ("JWT_DECODE_ISSUER = 'a'\nJWT_ENCODE_ISSUER = 'b'", "JWT_ENCODE_ISSUER"),
        ("from base import *", "import *"),
    ],
)
def test_what_matters_and_cannot_be_carried_is_said(text: str, name: str) -> None:
    """For whoever looks at the exit status."""
    assert left_of(carried("flask-jwt-extended", f"JWT_SECRET_KEY = '{SECRET}'\n{text}")) == {name: True}


@pytest.mark.parametrize(
    "text",
    [
        "JWT_COOKIE_DOMAIN = '.example.com'",
        "JWT_COOKIE_SECURE = False",
        "JWT_TOKEN_LOCATION = ['headers', 'query_string']",
        "JWT_HEADER_TYPE = 'JWT'",
        "JWT_OF_SOMEBODY = 1",
    ],
)
def test_what_does_not_matter_is_said_too(text: str) -> None:
    """It refuses more than before, or looks otherwise."""
    found = left_of(carried("flask-jwt-extended", f"JWT_SECRET_KEY = '{SECRET}'\n{text}"))
    assert found == {text.split(" ", 1)[0]: False}


# --- SimpleJWT


USUAL = {"ALGORITHMS": "HS256", "SECRET": SECRET, "ACCESS_TTL": "300", "REFRESH_TTL": "86400"}


def django(members: str, beside: str = "") -> Carried:
    """Of Django's settings."""
    return carried("simplejwt", f"{beside}\nSIMPLE_JWT = {{{members}}}\nISSUER = 'nobody'\n")


def test_simplejwts_defaults_become_ours() -> None:
    """With Django's own key, five minutes and a day; other settings of the file are none of its."""
    found = carried("simplejwt", f"SECRET_KEY = '{SECRET}'\nAUDIENCE = 'nobody'\n")
    assert lines_of(found) == {
        **USUAL,
        "HANDLES": "user_id",
    }
    assert left_of(found) == {}


def test_simplejwts_members_become_ours() -> None:
    """Those of the dictionary, and what is put into it later."""
    found = carried(
        "simplejwt",
        f"K = '{SECRET}'\nSIMPLE_JWT = dict(SIGNING_KEY=K, AUDIENCE='shop', USER_ID_CLAIM='sub', LEEWAY=3)\n"
        "SIMPLE_JWT['ISSUER'] = 'https://id'\n",
    )
    assert lines_of(found) == {
        **USUAL,
        "AUDIENCE": "shop",
        "ISSUER": "https://id",
        "LEEWAY": "3",
    }


def test_simplejwts_published_keys_become_ours() -> None:
    """No secret of Django's is taken for them."""
    found = django("'ALGORITHM': 'RS256', 'JWK_URL': 'https://id.example/jwks'", f"SECRET_KEY = '{SECRET}'")
    assert lines_of(found)["JWKS_URL"] == "https://id.example/jwks"
    assert "SECRET" not in lines_of(found)


@pytest.mark.parametrize(
    ("members", "name"),
    [
        ("'TOKEN_TYPE_CLAIM': None", "TOKEN_TYPE_CLAIM"),
        ("'TOKEN_TYPE_CLAIM': 'kind'", "TOKEN_TYPE_CLAIM"),
        ("'CHECK_REVOKE_TOKEN': True", "CHECK_REVOKE_TOKEN"),
        ("'USER_AUTHENTICATION_RULE': 'shop.rule'", "USER_AUTHENTICATION_RULE"),
        ("'AUTH_TOKEN_CLASSES': ('shop.Token',)", "AUTH_TOKEN_CLASSES"),
        ("'AUTH_TOKEN_CLASSES': CLASSES", "AUTH_TOKEN_CLASSES"),
        ("**BASE", "SIMPLE_JWT"),
    ],
)
def test_simplejwts_rules_are_not_lost_silently(members: str, name: str) -> None:
    """What refused a token there."""
    assert left_of(django(members, f"SECRET_KEY = '{SECRET}'")) == {name: True}


def test_dictionary_that_is_put_together_is_not_guessed() -> None:
    """In two places, or by a function."""
    for text in ("SIMPLE_JWT = {}\nSIMPLE_JWT.update(X)", "SIMPLE_JWT = {}\nSIMPLE_JWT |= X", "SIMPLE_JWT = make()"):
        assert left_of(carried("simplejwt", f"SECRET_KEY = '{SECRET}'\n{text}"))["SIMPLE_JWT"]


# --- what is not to be had from a file


@pytest.mark.parametrize(
    "text",
    [
        "app.config.from_object('production')",
        "app.config.from_prefixed_env()",
        "app.config.from_envvar('SETTINGS')",
        "app.config.update(other())",
        "app.config.update(**other)",
        "app.config |= {'JWT_DECODE_ISSUER': 'https://id.example'}",
        "config = AuthXConfig(**other)",
    ],
)
def test_settings_from_elsewhere_are_said(text: str) -> None:
    """One of them may be the issuer, without which tokens of any issuer would be admitted."""
    found = carried("flask-jwt-extended", f"JWT_SECRET_KEY = '{SECRET}'\n{text}")
    assert left_of(found)[STAR] is True


@pytest.mark.parametrize("text", ["app.config.from_object(__name__)", "class C:\n    X = 1\napp.config.from_object(C)"])
def test_file_that_loads_itself_is_whole(text: str) -> None:
    """Nothing is missing then."""
    assert STAR not in left_of(carried("flask-jwt-extended", f"JWT_SECRET_KEY = '{SECRET}'\n{text}"))


@pytest.mark.parametrize(
    "text",
    [
        "class Config:\n    JWT_DECODE_LEEWAY = 0\nclass Development(Config):\n    JWT_COOKIE_SECURE = False\n",
        "class Development:\n    JWT_COOKIE_SECURE = False\nclass Production:\n    DEBUG = False\n",
        "class Development:\n    JWT_COOKIE_SECURE: bool = False\nclass Production:\n    DEBUG: bool = False\n",
        "(JWT_COOKIE_SECURE := False)",
        "setattr(app, 'JWT_COOKIE_SECURE', False)",
    ],
)
def test_one_class_of_several_is_not_believed(text: str) -> None:
    """What is looser for development must not come to count everywhere."""
    assert isinstance(read(text, ".py")["JWT_COOKIE_SECURE"], Computed)


def test_class_that_others_are_made_of_is_read() -> None:
    """What they have in common stands there."""
    found = read(f"class Config:\n    JWT_SECRET_KEY = '{SECRET}'\nclass Testing(Config):\n    TESTING = True\n", ".py")
    assert found["JWT_SECRET_KEY"] == SECRET


def test_names_that_multiply_are_given_up() -> None:
    """Ten names in each of fifteen lists would be a number of steps with sixteen digits."""
    lists = [f"a{number} = [{', '.join([f'a{number + 1}'] * 10)}]" for number in range(15)]
    assert isinstance(read("\n".join([*lists, "a15 = 1"]), ".py")["a0"], Computed)


def test_number_beyond_all_floats_is_no_span() -> None:
    """Nothing is made of it, and nothing breaks."""
    found = carried("flask-jwt-extended", f"JWT_SECRET_KEY = '{SECRET}'\nJWT_ACCESS_TOKEN_EXPIRES = 1{'0' * 400}")
    assert left_of(found)["JWT_ACCESS_TOKEN_EXPIRES"] is True
    assert "ACCESS_TTL" not in lines_of(found)


def test_private_key_in_the_place_of_the_public_one_is_not_shown() -> None:
    """It works there, too, so some have it."""
    key = "-----BEGIN PRIVATE KEY-----\\nMIIE\\n-----END PRIVATE KEY-----"
    found = carried("flask-jwt-extended", f"JWT_ALGORITHM = 'RS256'\nJWT_PRIVATE_KEY = '{key}'\nJWT_PUBLIC_KEY = '{key}'")
    assert {line.variable: line.is_secret for line in found.lines if "KEY" in line.variable} == {
        "PRIVATE_KEY": True,
        "PUBLIC_KEY": True,
    }
