"""Settings that Flask-JWT-Extended and AuthX have under the same names."""

from __future__ import annotations

from jwtgate.moving.rows import Row

__all__ = ["SHARED"]

HEADER = "Authorization: Bearer (RFC 6750) alone"
FORMS = "a form sends no header: CSRF=fetch-metadata needs none"
PATHS = "the access cookie goes to every path, the refresh cookie to ENDPOINTS/refresh alone"
REFRESH_CSRF = "the refresh endpoint is guarded as every other, by the same header and by its cookie's path"
PLACES = "no token is read there: addresses are logged, and bodies are the application's"

SHARED = (
    Row("JWT_SECRET_KEY", "SECRET", "at least as long as the hash: 32 bytes for HS256; a shorter one is refused"),
    Row("JWT_PRIVATE_KEY", "PRIVATE_KEY", "or PRIVATE_KEYS, which rotate"),
    Row("JWT_PUBLIC_KEY", "PUBLIC_KEY"),
    Row("JWT_ALGORITHM", "ALGORITHMS", "an allow-list; the key says which of it signs"),
    Row("JWT_ACCESS_TOKEN_EXPIRES", "ACCESS_TTL", "seconds; a token without an end has no counterpart"),
    Row("JWT_REFRESH_TOKEN_EXPIRES", "REFRESH_TTL", "seconds a session lives; each refresh token is good for one use"),
    Row("JWT_DECODE_AUDIENCE", "AUDIENCE", "any of them; unset: a token that has aud is refused"),
    Row("JWT_ENCODE_AUDIENCE", "AUDIENCE", "the first one is issued"),
    Row("JWT_DECODE_ISSUER", "ISSUER", "exact match, and what is issued"),
    Row("JWT_ENCODE_ISSUER", "ISSUER", "once it is set, tokens of others are refused"),
    Row("JWT_TOKEN_LOCATION", "LOCATIONS", f"headers is header, cookies is cookie; query_string and json: {PLACES}"),
    Row("JWT_ACCESS_COOKIE_NAME", "COOKIE", "without it __Host-access_token, which no sibling host can set"),
    Row(
        "JWT_COOKIE_CSRF_PROTECT",
        "CSRF",
        "double-submit, by the same claim; fetch-metadata, the default, needs nothing of pages",
    ),
    Row("JWT_COOKIE_SECURE", "COOKIE_SECURE", "stays 1; 0 is for development over plain http alone"),
    Row("JWT_HEADER_NAME", "", HEADER),
    Row("JWT_HEADER_TYPE", "", HEADER),
    Row("JWT_REFRESH_COOKIE_NAME", "", "REFRESH_COOKIE has a default; what is in theirs is no refresh token of ours"),
    Row("JWT_ACCESS_COOKIE_PATH", "", PATHS),
    Row("JWT_REFRESH_COOKIE_PATH", "", PATHS),
    Row("JWT_COOKIE_DOMAIN", "", "cookies are of one host"),
    Row("JWT_COOKIE_SAMESITE", "", "always Lax"),
    Row("JWT_SESSION_COOKIE", "", "cookies live as long as what is in them"),
    Row("JWT_CSRF_METHODS", "", "every method but GET, HEAD and OPTIONS"),
    Row("JWT_CSRF_IN_COOKIES", "", "always, under CSRF=double-submit"),
    Row("JWT_ACCESS_CSRF_COOKIE_NAME", "", "csrf_access_token, with __Host- before it where COOKIE has that"),
    Row("JWT_ACCESS_CSRF_COOKIE_PATH", "", PATHS),
    Row("JWT_ACCESS_CSRF_HEADER_NAME", "", "X-CSRF-TOKEN"),
    Row("JWT_ACCESS_CSRF_FIELD_NAME", "", FORMS),
    Row("JWT_CSRF_CHECK_FORM", "", FORMS),
    Row("JWT_REFRESH_CSRF_COOKIE_NAME", "", REFRESH_CSRF),
    Row("JWT_REFRESH_CSRF_COOKIE_PATH", "", REFRESH_CSRF),
    Row("JWT_REFRESH_CSRF_HEADER_NAME", "", REFRESH_CSRF),
    Row("JWT_REFRESH_CSRF_FIELD_NAME", "", FORMS),
    Row("JWT_QUERY_STRING_NAME", "", PLACES),
    Row("JWT_JSON_KEY", "", PLACES),
    Row("JWT_REFRESH_JSON_KEY", "", "the form field refresh_token (RFC 6749 §6)"),
    Row("JWT_ERROR_MESSAGE_KEY", "", "answers are application/problem+json (RFC 9457)"),
)
