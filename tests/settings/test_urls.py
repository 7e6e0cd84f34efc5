"""mask_url: no password of a URL in a log line (threats.md 29)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jwtgate.settings import mask_url
from jwtgate.settings.allowed import Unfit
from jwtgate.settings.urls import normal_store

PASSWORD = "hunter2pw"


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("memory://", "memory://"),
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("redis://u:hunter2pw@h:6379/0", "redis://u:***@h:6379/0"),
        ("redis://:hunter2pw@h", "redis://:***@h"),
        ("redis://hunter2pw@h", "redis://***@h"),
        ("redis://u:hunter2pw@[::1]:1/0", "redis://u:***@[::1]:1/0"),
        ("unix://u:hunter2pw@/run/r.sock?db=1", "unix://u:***@/run/r.sock?db=1"),
        ("redis://h/0?password=hunter2pw&db=1", "redis://h/0?password=***&db=1"),
        ("redis://h/0?PassWord=hunter2pw;x=1", "redis://h/0?PassWord=***;x=1"),
        ("redis://h/0?p%61ssword=hunter2pw", "redis://h/0?p%61ssword=***"),
        ("redis://h/0?hunter2pw", "redis://h/0?***"),
        ("redis://h/0#hunter2pw", "redis://h/0#***"),
        ("redis+sentinel://u:hunter2pw@a:1,b:2/m", "redis+sentinel://u:***@a:1,b:2/m"),
        (
            "redis+sentinel://a,[::1]:2/m/3?sentinel_password=hunter2pw&tls=1",
            "redis+sentinel://a,[::1]:2/m/3?sentinel_password=***&tls=1",
        ),
        ("redis+sentinel://hunter2pw@a:1,b:2/m", "redis+sentinel://***@a:1,b:2/m"),
        ("redis+cluster://:hunter2pw@a:1,b", "redis+cluster://:***@a:1,b"),
        ("redis+cluster://u:hunter2%2Fpw@a:1,b", "redis+cluster://u:***@a:1,b"),
        ("https://h/p?access_token=hunter2pw", "https://h/p?access_token=***"),
    ],
)
def test_password_is_masked_and_the_rest_is_told(url: str, masked: str) -> None:
    """User-info, and query parameters named like a password."""
    assert mask_url(url) == masked


@pytest.mark.parametrize(
    "url",
    ["redis+sentinel://u:hunter2pw/x@a,b/m", "redis+cluster://u:hunter2pw?x@a,b", "redis+cluster://u:a@hunter2pw@h,b:x"]
    + ["redis+cluster://u:hunter2pw,x", "redis+sentinel://u:x#hunter2pw@a,b/m", "redis+cluster://:hunter2pw/0"]
    + ["hunter2pw", "redis:hunter2pw@h", "redis://u:hunter2pw/x@h", "redis://u:hunter2pw?x@h", "redis://u:x#hunter2pw@h"]
    + ["redis://u:a@hunter2pw@h", "redis://[hunter2pw", "redis://u:hunter2pw@h:port", "redis://:hunter2pw/0"]
    + [
        "redis://u:hunter 2pw@h hunter2pw",
        "redis:\\\\u:hunter2pw@h",
        "://hunter2pw",
        "1x://hunter2pw",
        "redis://u:x/hunter2pw%40h",
        "",
    ],
)
def test_malformed_url_is_hidden(url: str) -> None:
    """What cannot be parsed beyond doubt is hidden, a password cut by its own slash included."""
    assert PASSWORD not in mask_url(url) and "***" in mask_url(url)


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "mysql+pymysql", "mariadb+pymysql"])
def test_at_sign_in_the_password_of_a_database_must_be_escaped(scheme: str) -> None:
    """Else what follows it is taken for the host's name, which error messages tell."""
    with pytest.raises(Unfit) as caught:
        normal_store(f"{scheme}://u:p@{PASSWORD}@h/db")
    assert PASSWORD not in str(caught.value)
    assert normal_store(f"{scheme}://u:p%40{PASSWORD}@h/db")


@pytest.mark.parametrize("value", [None, 5, b"redis://u:hunter2pw@h", ["x"]])
def test_anything_else_is_hidden(value: object) -> None:
    """Masking never fails."""
    assert mask_url(value) == "***"


@given(st.text())
def test_masking_never_fails(text: str) -> None:
    """Whatever stands where a URL should."""
    mask_url(text)
    mask_url(f"redis://{text}")


@given(before=st.text(), after=st.text())
def test_password_in_user_info_never_shows(before: str, after: str) -> None:
    """Whatever surrounds it, a password before the last @ is hidden."""
    for url in ("redis://u:{}@host/0", "redis+sentinel://u:{}@a:1,b:2/m", "redis+cluster://u:{}@a:1,b:2"):
        assert PASSWORD not in mask_url(url.format(f"{before}{PASSWORD}{after}"))
