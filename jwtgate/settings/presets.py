"""Identity providers by name: what their tokens are like, and what an operator must have set. Each quirk beside its reason.

A preset is defaults for members of an issuer's entry, and checks. What the operator sets himself wins, but for what a token
must have: that adds up. Two dialects of one provider are two presets under one name, told apart by the issuer. Where a
provider publishes its keys is no quirk: every one of them is asked by its issuer alone (OpenID Connect Discovery 1.0 §4).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from jwtgate.settings.allowed import Choice

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PRESET", "PRESETS", "Preset", "default_issuer_of", "spellings_of"]

Places = tuple[tuple[str, ...], ...]

ACCESS_TOKEN_TYPES = frozenset({"", "jwt", "at+jwt"})
"""Of a header's ``typ``: none, or the two that say access token or nothing. Whatever else a provider marks is not for us."""

SEGMENT = r"[A-Za-z0-9._~%-]+"
HOST = r"[A-Za-z0-9.-]+(?::[0-9]{1,5})?"
GUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One provider, or one dialect of it. In texts ``{name}`` is what the issuer's pattern found under that name.

    Attributes:
        issuer: what the issuer matches, whole.
        allowed: that in words, and why.
        default_issuer: where there is but one.
        spellings: of ``iss``, beside the issuer.
        audience: why ``audience`` must be set; empty: it need not be.
        takes_any_audience: whether ``*`` will do.
        members: defaults of an entry's members.
        claims: default of the member ``claims``, of which each of its members may be set otherwise.
        values: the same of ``require_values``.
        require: claims without which a token is none of this provider's.
        one_of: lists of claims, of each of which there must be one.
        types: that a header's ``typ`` may have, unless the operator says which it is.
        foreign_header: members of the header of tokens that are for another API.
        discovery: where the metadata are, if not below the issuer.
        key_issuers: what a key's member ``issuer`` may say, if it says anything.
        is_provider: False: a profile of tokens that we may issue ourselves.
    """

    issuer: re.Pattern[str]
    allowed: str
    default_issuer: str | None = None
    spellings: frozenset[str] = frozenset()
    audience: str = ""
    takes_any_audience: bool = True
    members: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    claims: Mapping[str, Places | str] = field(default_factory=lambda: MappingProxyType({}))
    values: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    require: tuple[str, ...] = ()
    one_of: tuple[tuple[str, ...], ...] = ()
    types: frozenset[str] | None = ACCESS_TOKEN_TYPES
    foreign_header: frozenset[str] = frozenset()
    discovery: str | None = None
    key_issuers: tuple[str, ...] = ()
    is_provider: bool = True


HAS_AUD = "its tokens name an audience, and a token that does is refused where none is set"

KEYCLOAK = Preset(
    # The realm, as the browser reached the server unless its hostname is fixed (server_admin, hostname v2).
    issuer=re.compile(rf"https?://{HOST}(?:/{SEGMENT})*/realms/[^/\s]+"),
    allowed="https://<host>/realms/<realm>, without a slash at its end, as the realm's own metadata spell it",
    # TokenUtil: every token says what it is in the claim typ: Bearer or DPoP, ID, Refresh, Offline, Logout.
    values={"typ": ("Bearer", "DPoP")},
    # Before 24 tokens had session_state alone. Roles are nobody's scopes until the operator says so.
    claims={"sid": (("sid",), ("session_state",)), "client_id": (("azp",), ("client_id",))},
)

AUTH0 = Preset(
    # The slash is part of it (Auth0, Validate JSON Web Tokens); the host may be the customer's own.
    issuer=re.compile(rf"https://{HOST}/"),
    allowed="https://<tenant>.auth0.com/ or https://<custom domain>/, with the slash at its end, which is part of iss",
    audience=f"the API's identifier: {HAS_AUD}",
    # Access token profiles: azp in the first dialect, client_id in that of RFC 9068. An ID token has neither.
    claims={"client_id": (("client_id",), ("azp",))},
    one_of=(("client_id", "azp"),),
)

ENTRA_ALLOWED = (
    "https://login.microsoftonline.com/<tenant id>/v2.0 or https://sts.windows.net/<tenant id>/, as the API's manifest has "
    "it (requestedAccessTokenVersion), the tenant by its id in lower case: common, organizations and {tenantid} stand for "
    "every tenant, whose subjects would share one namespace"
)
ENTRA_TENANT = rf"(?P<tid>{GUID})"
ENTRA_CLOUD = r"(?P<host>login\.microsoftonline\.com|login\.microsoftonline\.us|login\.partner\.microsoftonline\.cn)"
ENTRA_SHARED: dict[str, Any] = {
    "allowed": ENTRA_ALLOWED,
    "audience": f"the API's client id, for v1 its App ID URI, too: {HAS_AUD}",
    # Access token claims reference: tid is the tenant of iss. uti identifies the token; there is no jti.
    "values": {"tid": ("{tid}",)},
    # sub is another one for each application; a user is an oid. One more kind of handle, then.
    "members": {"handles": ("oid",)},
    # Tokens for Microsoft Graph have a nonce in the header, and are signed over another one: only Graph can verify them.
    "foreign_header": frozenset({"nonce"}),
}


def _entra_v1(host: str, publisher: str) -> Preset:
    """Args: host: of iss, which publishes nothing. publisher: the host of the same cloud that does."""
    return Preset(
        issuer=re.compile(rf"https://{re.escape(host)}/{ENTRA_TENANT}/"),
        # An ID token has no appid.
        claims={"jti": (("uti",),), "client_id": (("appid",),)},
        one_of=(("appid",),),
        discovery=f"https://{publisher}/{{tid}}/.well-known/openid-configuration",
        key_issuers=(
            *(f"https://{host}/{{tenantid}}/", f"https://{host}/{{tid}}/"),
            *(f"https://{publisher}/{{tenantid}}/v2.0", f"https://{publisher}/{{tid}}/v2.0"),
        ),
        **ENTRA_SHARED,
    )


ENTRA_V1 = _entra_v1("sts.windows.net", "login.microsoftonline.com")
# National clouds, "Microsoft Entra authentication endpoints": China's has hosts of its own.
ENTRA_V1_CHINA = _entra_v1("sts.chinacloudapi.cn", "login.partner.microsoftonline.cn")
ENTRA_V2 = Preset(
    issuer=re.compile(rf"https://{ENTRA_CLOUD}/{ENTRA_TENANT}/v2\.0"),
    # An ID token has no azp.
    claims={"jti": (("uti",),), "client_id": (("azp",),)},
    one_of=(("azp",),),
    # A key may be one tenant's alone (Access tokens, "Validate the signature"): {tenantid} stands for any.
    key_issuers=("https://{host}/{tenantid}/v2.0", "https://{host}/{tid}/v2.0"),
    **ENTRA_SHARED,
)

OKTA = Preset(
    issuer=re.compile(rf"https://{HOST}/oauth2/{SEGMENT}"),
    allowed="https://<host>/oauth2/<id of a custom authorization server>, default for example: the tokens of the org server "
    "are for Okta's own APIs, and nobody else may look into them",
    audience=f"the authorization server's: {HAS_AUD}",
    # An ID token has no cid. sub is a login name that may change; uid is the user.
    claims={"client_id": (("cid",),)},
    one_of=(("cid",),),
    members={"handles": ("uid",)},
)

COGNITO = Preset(
    issuer=re.compile(
        r"https://cognito-idp\.(?P<region>[a-z]{2}(?:-[a-z]+)+-[0-9])\.amazonaws\.com(?:\.cn)?/(?P=region)_[A-Za-z0-9]+"
    ),
    allowed="https://cognito-idp.<region>.amazonaws.com/<region>_<pool>, the user pool and not its domain",
    audience="the client ids of the app clients: an access token has no aud, and every client of the pool would be admitted",
    # Verifying a JSON web token: token_use is access, and client_id one of ours.
    members={"audience_claim": "client_id"},
    values={"token_use": ("access",)},
    # All tokens of one login share it, where token revocation is on. event_id is another thing.
    claims={"sid": (("origin_jti",),)},
)

GOOGLE = Preset(
    # OpenID Connect, "Validating an ID token": iss is one or the other. The metadata say the first.
    issuer=re.compile(r"https://accounts\.google\.com"),
    allowed="https://accounts.google.com, which the other spelling, accounts.google.com, is a part of",
    default_issuer="https://accounts.google.com",
    spellings=frozenset({"accounts.google.com"}),
    audience="your client ids: an ID token is for a client, and everybody's users have one of Google's",
    takes_any_audience=False,
    # Access tokens are opaque; an ID token it is, at_hash and all.
    members={"admits": "id"},
    claims={"client_id": (("azp",),)},
    types=frozenset({"", "jwt"}),
)

RFC9068 = Preset(
    issuer=re.compile(r".+"),
    allowed="the issuer, as RFC 9068 §4 compares it",
    audience="this resource, as RFC 9068 §4 wants to find it in aud",
    members={"typ": "at+jwt"},
    require=("iss", "exp", "aud", "sub", "client_id", "iat", "jti"),
    types=None,
    is_provider=False,
)

PRESETS: Mapping[str, tuple[Preset, ...]] = MappingProxyType(
    {
        "keycloak": (KEYCLOAK,),
        "auth0": (AUTH0,),
        "entra": (ENTRA_V2, ENTRA_V1, ENTRA_V1_CHINA),
        "okta": (OKTA,),
        "cognito": (COGNITO,),
        "google": (GOOGLE,),
        "rfc9068": (RFC9068,),
    }
)
PRESET = Choice(tuple(PRESETS))


def default_issuer_of(name: object) -> str | None:
    """The one issuer of a provider that has but one."""
    return PRESETS[name][0].default_issuer if isinstance(name, str) and name in PRESETS else None


def spellings_of(name: object) -> frozenset[str]:
    """Of ``iss``, beside the issuer."""
    return PRESETS[name][0].spellings if isinstance(name, str) and name in PRESETS else frozenset()
