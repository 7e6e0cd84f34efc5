"""Presets and the members of an entry that speak of tokens: what they set, what wins, and what is a mistake."""

from __future__ import annotations

import json
from typing import Any

import pytest
from keymaking import make_pairs
from providers import SHAPES, TENANT

from jwtgate.auditing import audit_settings
from jwtgate.configuring import policy_of_sessions
from jwtgate.errors import SettingsError
from jwtgate.settings import Settings

SECRET = "s3cr3t-Kq7-" * 8
PAIR = make_pairs()["p256"]
PEM = PAIR.public_pem


def policy(**members: Any) -> Any:
    """Of one entry with a public key."""
    return only(Settings(issuers=[{"issuer": "https://a", "public_key": PEM, **members}]))


def only(settings: Settings) -> Any:
    (found,) = settings.policies.values()
    return found


def mistakes(**given: Any) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        Settings(**given)
    return caught.value.mistakes


def mistake_of(**members: Any) -> str:
    """The one mistake of the second of two entries."""
    entries = [{"issuer": "https://x", "public_key": PEM}, {"public_key": PEM, **members}]
    (found,) = mistakes(issuers=entries)
    return found


# Presets


@pytest.mark.parametrize(
    ("preset", "issuer"),
    [
        ("keycloak", "https://id.example/realms/shop/"),
        ("keycloak", "https://id.example/"),
        ("keycloak", "https://id.example/realms/"),
        ("auth0", "https://shop.eu.auth0.com"),
        ("auth0", "http://shop.eu.auth0.com/"),
        ("auth0", "https://shop.eu.auth0.com/x/"),
        ("entra", "https://login.microsoftonline.com/common/v2.0"),
        ("entra", "https://login.microsoftonline.com/organizations/v2.0"),
        ("entra", "https://login.microsoftonline.com/consumers/v2.0"),
        ("entra", "https://login.microsoftonline.com/{tenantid}/v2.0"),
        ("entra", "https://login.microsoftonline.com/shop.example/v2.0"),
        ("entra", f"https://login.microsoftonline.com/{TENANT}"),
        ("entra", f"https://login.microsoftonline.com/{TENANT}/v2.0/"),
        ("entra", f"https://login.microsoftonline.com.evil.example/{TENANT}/v2.0"),
        ("entra", f"https://sts.windows.net/{TENANT}"),
        ("entra", "https://sts.windows.net/common/"),
        ("okta", "https://shop.okta.com"),
        ("okta", "https://shop.okta.com/"),
        ("okta", "https://shop.okta.com/oauth2"),
        ("okta", "https://shop.okta.com/oauth2/default/"),
        ("cognito", "https://shop.auth.eu-west-1.amazoncognito.com"),
        ("cognito", "https://cognito-idp.eu-west-1.amazonaws.com/us-east-1_Ab1"),
        ("cognito", "https://cognito-idp.eu-west-1.amazonaws.com/"),
        ("google", "accounts.google.com"),
        ("google", "https://accounts.google.com/"),
        ("google", "https://google.example"),
    ],
)
def test_issuer_that_is_not_the_providers_is_a_mistake(preset: str, issuer: str) -> None:
    """The entry is named, and what it must be, and why."""
    found = mistake_of(preset=preset, issuer=issuer, audience="x")
    assert found.startswith(f"JWTGATE_ISSUERS[1].issuer is {issuer!r}, and preset is {preset!r}; allowed: https://")
    (at_the_top,) = mistakes(preset=preset, issuer=issuer, audience="x", public_key=PEM)
    assert at_the_top == found.replace("JWTGATE_ISSUERS[1].issuer", "JWTGATE_ISSUER")


@pytest.mark.parametrize(
    ("preset", "issuer"),
    [
        ("keycloak", "http://localhost:8080/realms/shop"),
        ("keycloak", "https://id.example/auth/realms/shop%20two"),
        ("auth0", "https://login.shop.example/"),
        ("entra", f"https://login.microsoftonline.us/{TENANT}/v2.0"),
        ("entra", f"https://sts.windows.net/{TENANT}/"),
        ("okta", "https://login.shop.example/oauth2/aus1"),
        ("cognito", "https://cognito-idp.us-gov-west-1.amazonaws.com/us-gov-west-1_Zz9"),
        ("cognito", "https://cognito-idp.cn-north-1.amazonaws.com.cn/cn-north-1_Zz9"),
        ("rfc9068", "urn:as"),
    ],
)
def test_issuer_of_the_provider_is_taken(preset: str, issuer: str) -> None:
    """With paths of old, own domains and other clouds."""
    assert policy(preset=preset, issuer=issuer, audience="x").issuer == issuer


def test_why_is_said() -> None:
    """An operator who meets it must understand it."""
    assert "for Okta's own APIs" in mistake_of(preset="okta", issuer="https://shop.okta.com", audience="x")
    assert "share one namespace" in mistake_of(
        preset="entra", issuer="https://login.microsoftonline.com/common/v2.0", audience="x"
    )
    assert "slash at its end" in mistake_of(preset="auth0", issuer="https://shop.eu.auth0.com", audience="x")


@pytest.mark.parametrize("name", [name for name in SHAPES if "keycloak" not in name])
def test_audience_that_must_be_set_is_missed(name: str) -> None:
    """Cognito and Google would admit what is for others; the others would admit nothing."""
    shape = SHAPES[name]
    found = mistake_of(preset=shape.preset, issuer=shape.issuer)
    assert found.startswith(f"JWTGATE_ISSUERS[1].audience is missing, and preset is {shape.preset!r}; allowed: ")
    at_the_top = mistakes(preset=shape.preset, issuer=shape.issuer, public_key=PEM)
    assert at_the_top == (found.replace("JWTGATE_ISSUERS[1].audience", "JWTGATE_AUDIENCE"),)
    assert policy(preset=shape.preset, issuer=shape.issuer, audience="x").audience == ("x",)


def test_audience_of_the_top_level_will_do() -> None:
    """What an entry leaves out holds from there."""
    entry = {"issuer": SHAPES["cognito"].issuer, "preset": "cognito", "public_key": PEM}
    assert only(Settings(issuers=[entry], audience="4tq")).audience == ("4tq",)


def test_everybodys_id_tokens_are_not_admitted() -> None:
    """Every user of Google has an ID token for somebody."""
    assert mistake_of(preset="google", audience="*").startswith("JWTGATE_ISSUERS[1].audience is *, and preset is 'google'")
    assert policy(preset="cognito", issuer=SHAPES["cognito"].issuer, audience="*").audience == ("*",)


@pytest.mark.parametrize("value", ["Keycloak", "azure", "", 5, None, []])
def test_unknown_preset_names_those_that_are(value: object) -> None:
    """In an entry and at the top level."""
    found = mistake_of(issuer="https://b", preset=value)
    assert found.startswith("JWTGATE_ISSUERS[1].preset is ") and found.endswith("okta, cognito, google, rfc9068.")
    if value is not None:
        assert mistakes(issuer="https://b", preset=value, public_key=PEM)[0].startswith("JWTGATE_PRESET is ")


def test_preset_needs_its_issuer() -> None:
    """But Google's, which has one."""
    assert "JWTGATE_ISSUER is missing, and preset is 'okta'" in mistakes(preset="okta", audience="x", public_key=PEM)[0]
    settings = Settings(preset="google", audience="x", public_key=PEM)
    assert settings.issuer == only(settings).issuer == "https://accounts.google.com"
    assert only(Settings(preset="google", audience="x")).published.url.startswith("https://accounts.google.com/.well-known/")
    assert list(Settings(issuers=[{"preset": "google", "audience": "x"}]).policies) == ["https://accounts.google.com"]


def test_preset_stands_in_entries_where_there_are_some() -> None:
    """Of which would it be?"""
    found = mistakes(preset="rfc9068", issuers=[{"issuer": "https://a", "public_key": PEM}])
    assert found == ("JWTGATE_PRESET is set beside JWTGATE_ISSUERS; allowed: preset in its entries, each issuer with its own.",)


def test_spelling_of_an_issuer_comes_once() -> None:
    """A second entry would give it a second namespace."""
    google = {"preset": "google", "audience": "x"}
    for entries in ([google, {"issuer": "accounts.google.com", "public_key": PEM}], [google, google]):
        assert any("JWTGATE_ISSUERS[1].issuer is that of an earlier entry" in each for each in mistakes(issuers=entries))


def test_what_is_set_wins_over_the_preset() -> None:
    """A preset is defaults; what a token must have adds up."""
    shape = SHAPES["keycloak"]
    bare = policy(preset="keycloak", issuer=shape.issuer)
    assert (bare.typ, dict(bare.profile.values), bare.profile.scopes) == (None, {"typ": ("Bearer", "DPoP")}, ())
    own = policy(
        preset="keycloak",
        issuer=shape.issuer,
        typ="at+jwt",
        claims={"scopes": [["realm_access", "roles"]], "sid": "session_state"},
        require_values={"typ": "Bearer", "acr": 1},
        handles=["tenant"],
    )
    assert (own.typ, own.profile.types) == ("at+jwt", None)
    assert own.profile.scopes == (("realm_access", "roles"),)
    assert dict(own.profile.names) == {"sid": (("session_state",),), "client_id": (("azp",), ("client_id",))}
    assert dict(own.profile.values) == {"typ": ("Bearer",), "acr": (1,)}
    okta = policy(preset="okta", issuer=SHAPES["okta"].issuer, audience="x", handles="tenant", require="email")
    assert (okta.handle_claims, okta.require) == (("tenant", "uid"), ("email",))


def test_preset_of_an_entry_wins_over_the_top_level() -> None:
    """It stands nearer to the issuer."""
    entry = {"issuer": "https://as", "preset": "rfc9068", "audience": "x", "public_key": PEM}
    assert only(Settings(issuers=[entry], typ="JWT")).typ == "at+jwt"
    assert only(Settings(issuers=[{**entry, "typ": "JWT"}])).typ == "JWT"
    found = only(Settings(issuer="https://as", preset="rfc9068", audience="x", public_key=PEM, require="tenant"))
    assert found.typ == "at+jwt" and {"tenant", "client_id", "jti"} <= set(found.require)


def test_typ_alone_is_no_profile() -> None:
    """TYP=at+jwt asks for nothing else, as ever."""
    found = only(Settings(secret=SECRET, typ="at+jwt"))
    assert (found.typ, found.profile, found.require) == ("at+jwt", None, ("exp",))


def test_provider_makes_its_tokens_itself() -> None:
    """Nobody signs for it; and a shared secret of old makes nobody the provider."""
    found = mistakes(issuer=SHAPES["auth0"].issuer, preset="auth0", audience="x", private_key=PAIR.private_pem)
    assert found[0].startswith("JWTGATE_PRESET is 'auth0' beside a private key; allowed: ")
    settings = Settings(issuer=SHAPES["auth0"].issuer, preset="auth0", audience="x", secret=SECRET)
    assert only(settings).keys.signer is None and not any(key.is_own for key in only(settings).keys.keys)
    mapped = {"issuer": "https://a", "secret": SECRET, "claims": {"sid": "origin_jti"}}
    assert only(Settings(issuers=[mapped])).keys.signer is None
    found_too = mistake_of(issuer="https://b", private_key=PAIR.private_pem, claims={"sid": "origin_jti"})
    assert found_too.startswith("JWTGATE_ISSUERS[1].claims is set beside a private key; allowed: scopes alone")


def test_own_tokens_may_keep_to_the_rfc() -> None:
    """RFC 9068 §2.2: they then need a client_id, which CLIENT_ID gives to those of sessions."""
    given: dict[str, Any] = {"issuer": "https://as", "preset": "rfc9068", "audience": "x", "private_key": PAIR.private_pem}
    assert mistakes(**given)[0].startswith("JWTGATE_CLIENT_ID is missing, and preset is 'rfc9068'")
    settings = Settings(**given, client_id="app")
    assert policy_of_sessions(settings.policies) is only(settings) and only(settings).keys.signer is not None


def test_entra_is_asked_where_its_keys_are() -> None:
    """The host of v1's iss publishes nothing; and a key may be another tenant's."""
    v1 = only(Settings(issuer=SHAPES["entra v1"].issuer, preset="entra", audience="x")).published
    assert v1.url == f"https://login.microsoftonline.com/{TENANT}/.well-known/openid-configuration" and v1.is_discovered
    v2 = only(Settings(issuer=SHAPES["entra v2"].issuer, preset="entra", audience="x")).published
    assert v2.url == f"{SHAPES['entra v2'].issuer}/.well-known/openid-configuration"
    template = "https://login.microsoftonline.com/{tenantid}/v2.0"
    assert v2.key_issuers == {template, SHAPES["entra v2"].issuer}
    assert v1.key_issuers > {"https://sts.windows.net/{tenantid}/", SHAPES["entra v1"].issuer}


def test_each_cloud_of_entra_publishes_on_its_own_host() -> None:
    """The host of a v1 issuer publishes nothing, and what another cloud does is of other tenants."""
    hosts = {"sts.windows.net": "login.microsoftonline.com", "sts.chinacloudapi.cn": "login.partner.microsoftonline.cn"}
    for host, publisher in hosts.items():
        published = only(Settings(issuer=f"https://{host}/{TENANT}/", preset="entra", audience="x")).published
        assert published.url == f"https://{publisher}/{TENANT}/.well-known/openid-configuration"
        assert published.key_issuers == {
            *(f"https://{host}/{each}/" for each in (TENANT, "{tenantid}")),
            *(f"https://{publisher}/{each}/v2.0" for each in (TENANT, "{tenantid}")),
        }


def test_doctor_has_nothing_against_a_preset() -> None:
    """Its audience is named, and nothing else is to be said."""
    found = audit_settings(Settings(preset="google", audience="x", store="redis://r"), {})
    assert not [each for each in found if "ISSUER" in each.about or "AUDIENCE" in each.about]


# Members of a plain entry


def test_members_of_an_entry_make_its_profile() -> None:
    """Without any preset."""
    found = policy(
        audience="web",
        audience_claim="cid",
        require_values={"use": ["access", "machine"], "ver": 1},
        claims={
            "scopes": ["scope", ["realm_access", "roles"], "https://shop.example/roles"],
            "sid": "origin_jti",
            "jti": [["ext", "uti"], "jti"],
            "version": "ver",
        },
        handles="tenant,".split(",")[:1],
    )
    assert found.profile.scopes == (("scope",), ("realm_access", "roles"), ("https://shop.example/roles",))
    assert dict(found.profile.names) == {"jti": (("ext", "uti"), ("jti",)), "sid": (("origin_jti",),)}
    assert dict(found.profile.values) == {"use": ("access", "machine"), "ver": (1,)}
    assert (found.profile.audience_claim, found.version_claim, found.handle_claims) == ("cid", "ver", ("tenant",))
    assert policy().profile is None


def test_entries_are_equal_however_they_are_given() -> None:
    """Settings hold them in one form, and read it again."""
    entry = {
        "issuer": "https://a",
        "public_key": PEM,
        "claims": {"scopes": ("scope", ("a", "b"))},
        "require_values": {"x": "y"},
    }
    settings = Settings(issuers=[entry])
    assert Settings(issuers=json.dumps([{**entry, "claims": {"scopes": [["scope"], ["a", "b"]]}}])) == settings
    assert Settings(issuers=settings.issuers) == settings
    assert only(Settings(issuers=settings.issuers)).profile == only(settings).profile


@pytest.mark.parametrize(
    ("member", "value"),
    [
        *(("claims", value) for value in (5, "scope", [], {}, {"roles": "x"}, {"sub": "x"}, {"scopes": []}, {"scopes": [[]]})),
        *(("claims", value) for value in ({"scopes": [5]}, {"scopes": [["a", 5]]}, {"scopes": [[["a"]]]}, {"scopes": "a b"})),
        *(("claims", value) for value in ({"sid": None}, {"sid": ""}, {"version": ["a"]}, {"sid": ["x"] * 17}, {1: "x"})),
        ("claims", {"sid": [["x"] * 9]}),
        *(("require_values", value) for value in (5, [], {}, {"x": []}, {"x": None}, {"x": 1.5}, {"x": [["y"]]}, {"a b": "x"})),
        *(("audience_claim", value) for value in (5, "", ["x"], "a b")),
        *(("admits", value) for value in ("ID", "refresh", "", True)),
        *(("handles", value) for value in ([], "sub", "all", 5)),
    ],
)
def test_mistake_in_a_member_names_it(member: str, value: object) -> None:
    """And says what is allowed."""
    found = mistake_of(issuer="https://b", audience="x", **{member: value})
    assert found.startswith(f"JWTGATE_ISSUERS[1].{member} ") and "allowed: " in found


@pytest.mark.parametrize(("member", "value"), [("audience_claim", "cid"), ("admits", "id")])
def test_what_is_compared_with_the_audience_needs_one(member: str, value: str) -> None:
    """Else anybody's would pass."""
    found = mistake_of(issuer="https://b", **{member: value})
    assert found.startswith(f"JWTGATE_ISSUERS[1].{member} is set without audience")
    assert policy(**{member: value, "audience": "x"}).profile is not None


def test_id_tokens_of_everybody_are_not_admitted() -> None:
    """Whoever writes the entry himself is told so, too."""
    assert mistake_of(issuer="https://b", admits="id", audience="*").startswith("JWTGATE_ISSUERS[1].audience is *")
    assert "admits is set beside a private key" in mistake_of(
        issuer="https://b", admits="id", audience="x", private_key=PAIR.private_pem
    )


# The resource


@pytest.mark.parametrize(
    "url",
    [
        *(
            "https://a.example",
            "https://a.example/",
            "https://a.example:8443/api/v1",
            "https://[2001:db8::1]/x",
            "http://localhost:8000/x",
        ),
        *("http://127.0.0.1", "http://[::1]:8000/api", "https://a.example/~x/@y/(z)", "https://a.example/a.b/c/"),
    ],
)
def test_resource_is_kept_letter_by_letter(url: str) -> None:
    """RFC 9728 §3.3: a client compares it so."""
    assert Settings(secret=SECRET, resource=url).resource == url


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://a.example",
            "https://",
            "a.example/x",
            "ftp://a.example",
            "https://a.example/?x",
            "https://a.example/#x",
            "https://a.example?",
        ),
        *(
            "https://a.example/../x",
            "https://a.example/./",
            "https://a.example//x",
            "https://a.example/%2e",
            "https://a.example/a b",
        ),
        *(
            "https://u:p@a.example/",
            'https://a.example/"x',
            "https://a.example/é",
            "https://a.example/x.",
            "http://localhost.evil.example",
        ),
        *("https://a.example/\\x", "https://a.example:x/", "https://a.example/\r\nX:y", 5, ""),
    ],
)
def test_resource_that_is_no_plain_url_is_a_mistake(url: object) -> None:
    """It stands in a header, and in the path of a route."""
    (found,) = mistakes(secret=SECRET, resource=url)
    assert found.startswith("JWTGATE_RESOURCE is ") and "an https URL" in found and "u:p" not in found


def test_scopes_of_no_resource_are_a_mistake() -> None:
    """Nobody would be told of them."""
    assert mistakes(secret=SECRET, resource_scopes="a")[0].startswith("JWTGATE_RESOURCE_SCOPES is set without JWTGATE_RESOURCE")
    for scope in ("a b", 'a"', "a\\", ""):
        assert mistakes(secret=SECRET, resource="https://a", resource_scopes=[scope])[0].startswith("JWTGATE_RESOURCE_SCOPES ")
