"""djangorestframework-simplejwt 5.5: its settings and names."""

from __future__ import annotations

from jwtgate.moving.rows import Row

__all__ = ["NAMES", "SETTINGS"]

SLIDING = "access tokens are short and refresh tokens rotate; IDLE_TTL ends a session that nobody uses"
SERIALIZERS = "the login is a view of yours: claims= of gate.sessions.start, and @gate.claims for each refresh"
ALWAYS = "always: each refresh token is good for one use, and a second use ends the session"

SETTINGS = (
    Row(
        "SIGNING_KEY",
        "SECRET",
        "of HS algorithms; else PRIVATE_KEY. Unset, it is Django's SECRET_KEY: give tokens one of their own",
    ),
    Row("VERIFYING_KEY", "PUBLIC_KEY"),
    Row("JWK_URL", "JWKS_URL", "fetched ahead of need; extra jwks"),
    Row("ALGORITHM", "ALGORITHMS", "an allow-list; the key says which of it signs"),
    Row("ACCESS_TOKEN_LIFETIME", "ACCESS_TTL", "seconds"),
    Row("REFRESH_TOKEN_LIFETIME", "REFRESH_TTL", "seconds a session lives, from the login on"),
    Row("AUDIENCE", "AUDIENCE", "any of them, the first is issued; unset: a token that has aud is refused"),
    Row("ISSUER", "ISSUER", "exact match, and what is issued"),
    Row("LEEWAY", "LEEWAY", "seconds"),
    Row(
        *("USER_ID_CLAIM", "HANDLES"),
        "the subject is sub alone: tokens that name their user elsewhere have none, and are revoked by claim=(name, value)",
    ),
    Row("USER_ID_FIELD", "", "of Django's settings: JWTGATE_USER_FIELD, with which request.user is your user, looked up"),
    Row("TOKEN_TYPE_CLAIM", "", "read under the names type, token_type, token_use and typ: what says refresh is refused"),
    Row(
        "JTI_CLAIM",
        "",
        "jti; another one stands in an entry of ISSUERS, as claims; tokens without it are told apart all the same",
    ),
    Row("AUTH_HEADER_TYPES", "", "Bearer (RFC 6750) alone"),
    Row("AUTH_HEADER_NAME", "", "Authorization (RFC 6750) alone"),
    Row("AUTH_TOKEN_CLASSES", "", "access tokens, and what does not say that it is something else; @gate.check may say more"),
    Row("USER_AUTHENTICATION_RULE", "", "is_active under JWTGATE_USER_FIELD; any other rule is a @gate.check"),
    Row("CHECK_USER_IS_ACTIVE", "", "under JWTGATE_USER_FIELD in Django's settings, or gate.suspend(sub)"),
    Row("CHECK_REVOKE_TOKEN", "", "call gate.revoke(sub=…, wait=True) where the password changes"),
    Row("REVOKE_TOKEN_CLAIM", "", "no claim about the password is made or read"),
    Row("ROTATE_REFRESH_TOKENS", "", ALWAYS),
    Row("BLACKLIST_AFTER_ROTATION", "", ALWAYS),
    Row("UPDATE_LAST_LOGIN", "", "yours, in your login view; sessions have last_seen_at"),
    Row("TOKEN_USER_CLASS", "", "TokenUser, or your user by JWTGATE_USER_FIELD"),
    Row("JSON_ENCODER", "", "claims are JSON already"),
    Row("SLIDING_TOKEN_LIFETIME", "", SLIDING),
    Row("SLIDING_TOKEN_REFRESH_LIFETIME", "", SLIDING),
    Row("SLIDING_TOKEN_REFRESH_EXP_CLAIM", "", SLIDING),
    Row("TOKEN_OBTAIN_SERIALIZER", "", SERIALIZERS),
    Row("TOKEN_REFRESH_SERIALIZER", "", SERIALIZERS),
    Row("TOKEN_VERIFY_SERIALIZER", "", SERIALIZERS),
    Row("TOKEN_BLACKLIST_SERIALIZER", "", SERIALIZERS),
    Row("SLIDING_TOKEN_OBTAIN_SERIALIZER", "", SLIDING),
    Row("SLIDING_TOKEN_REFRESH_SERIALIZER", "", SLIDING),
)

NAMES = (
    Row(
        *("JWTAuthentication", "TokenUserAuthentication"),
        "of jwtgate.frameworks.django, in DEFAULT_AUTHENTICATION_CLASSES; with JWTGATE_USER_FIELD it looks your user up",
    ),
    Row("JWTStatelessUserAuthentication", "TokenUserAuthentication", "without JWTGATE_USER_FIELD"),
    Row("TokenObtainPairView", "a view of yours", "gate.sessions.start(str(user.pk)).as_dict()"),
    Row("TokenRefreshView", "POST ENDPOINTS/refresh", "the form field is refresh_token"),
    Row("TokenVerifyView", "POST ENDPOINTS/introspect", "for CLIENTS; or gate.verify(token)"),
    Row("TokenBlacklistView", "POST ENDPOINTS/logout", "its session is over everywhere when the answer arrives"),
    Row("TokenObtainSlidingView", "", SLIDING),
    Row("TokenRefreshSlidingView", "", SLIDING),
    Row(
        "RefreshToken.for_user(user)", "gate.sessions.start(str(user.pk)).refresh_token", "gate = request.META['jwtgate.gate']"
    ),
    Row("AccessToken.for_user(user)", "gate.issue(str(user.pk))", "without a session"),
    Row("SlidingToken", "", SLIDING),
    Row("UntypedToken(token)", "gate.verify(token)"),
    Row("BlacklistMixin.blacklist()", "gate.revoke(jti=…)", "or gate.sessions.end(sid), with all its tokens"),
    Row("rest_framework_simplejwt.token_blacklist", "STORE", "rulings go by themselves when their tokens would have"),
    Row("flushexpiredtokens", "", "not needed"),
    Row("request.auth['claim']", "request.auth.claims['claim']"),
)
