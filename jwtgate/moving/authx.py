"""AuthX 1.7: its settings and names."""

from __future__ import annotations

from jwtgate.moving.cookie_rows import SHARED
from jwtgate.moving.rows import Row

__all__ = ["NAMES", "SETTINGS"]

IMPLICIT = "a page refreshes before its token ends; ROTATE_AFTER replaces a token after so many requests"
READ_NOWHERE = "AuthX reads it nowhere"
DEPENDENCY = "Annotated[Token, Depends(admitted)]"
SESSIONS = "always, for tokens of sessions; no store of yours to write"
POLICIES = "scopes, and @gate.check for rules of your own"

SETTINGS = (
    *SHARED,
    Row("JWT_DECODE_ALGORITHMS", "", f"{READ_NOWHERE}: JWT_ALGORITHM alone decides, and is ALGORITHMS here"),
    Row("JWT_DECODE_LEEWAY", "LEEWAY", f"seconds; {READ_NOWHERE}, here it counts"),
    Row("JWT_IDENTITY_CLAIM", "", f"{READ_NOWHERE}: the subject is sub"),
    Row("JWT_ENCODE_NBF", "", "ours have no nbf; where a token has one, it counts"),
    Row(
        "JWT_PREVIOUS_SECRET_KEY",
        "",
        "PRIVATE_KEYS keeps the key before until its last token has ended; of secrets there is one",
    ),
    Row(
        "JWT_PREVIOUS_PUBLIC_KEY",
        "",
        "PRIVATE_KEYS keeps the key before until its last token has ended; or JWKS_FILE with both",
    ),
    Row("JWT_COOKIE_MAX_AGE", "", "cookies live as long as what is in them"),
    Row("JWT_COOKIE_HTTP_ONLY", "", "always: no script reads a token"),
    Row("JWT_SESSION_TRACKING", "", SESSIONS),
    Row("JWT_SESSION_UPDATE_LAST_ACTIVE", "", "always, without a round trip for each request"),
    Row("JWT_IMPLICIT_REFRESH_ROUTE_EXCLUDE", "", IMPLICIT),
    Row("JWT_IMPLICIT_REFRESH_ROUTE_INCLUDE", "", IMPLICIT),
    Row("JWT_IMPLICIT_REFRESH_METHOD_EXCLUDE", "", IMPLICIT),
    Row("JWT_IMPLICIT_REFRESH_METHOD_INCLUDE", "", IMPLICIT),
    Row("JWT_IMPLICIT_REFRESH_DELTATIME", "", IMPLICIT),
)

NAMES = (
    Row("AuthX(config)", "app.add_middleware(JWTGateMiddleware)", "every path but EXEMPT needs a token"),
    Row("load_config(config)", "JWTGATE_* variables"),
    Row("handle_errors(app)", "render_errors(app)", "of jwtgate.frameworks.starlette"),
    Row("ensure_request_exception_handlers(request)", "", "not needed"),
    Row("create_access_token(uid)", "gate.sessions.start(uid).access_token", "gate = request.scope['jwtgate.gate']"),
    Row("create_refresh_token(uid)", "gate.sessions.start(uid).refresh_token", "of the same call"),
    Row("create_token_pair(uid)", "gate.sessions.start(uid)"),
    Row("access_token_required", DEPENDENCY, "of jwtgate.frameworks.starlette; on exempt paths alone it decides"),
    Row("ACCESS_REQUIRED", DEPENDENCY),
    Row("token_required()", DEPENDENCY),
    Row("get_token_from_request(request)", DEPENDENCY),
    Row("get_access_token_from_request(request)", DEPENDENCY),
    Row("ACCESS_TOKEN", DEPENDENCY),
    Row("refresh_token_required", "POST ENDPOINTS/refresh", "an endpoint, no view of yours"),
    Row("REFRESH_REQUIRED", "POST ENDPOINTS/refresh"),
    Row("REFRESH_TOKEN", "POST ENDPOINTS/refresh"),
    Row("get_refresh_token_from_request(request)", "POST ENDPOINTS/refresh"),
    Row("fresh_token_required", "Gate(settings, checks=[fresh_login(300)])", "of jwtgate.checks: seconds since the password"),
    Row("FRESH_REQUIRED", "Gate(settings, checks=[fresh_login(300)])"),
    Row("scopes_required(*scopes)", "Depends(require(*scopes))", "scopes are a text with spaces in scope, or a list in scp"),
    Row("CURRENT_SUBJECT", "token.subject", "and your own look-up"),
    Row("get_current_subject(request)", "request.user.identity"),
    Row("set_subject_getter(function)", "your own look-up by token.subject"),
    Row("set_callback_get_model_instance(function)", "your own look-up by token.subject"),
    Row("is_model_callback_set", ""),
    Row("WS_AUTH_REQUIRED", DEPENDENCY, "on a WebSocket route, too"),
    Row("verify_token(token)", "gate.verify(token)", "the whole decision, revocations too"),
    Row("set_callback_token_blocklist(function)", "", "not needed: gate.revoke(jti=…, sub=…) holds everywhere"),
    Row("set_token_blocklist(function)", "", "not needed"),
    Row("is_token_in_blocklist(token)", "gate.verify(token)", "raises Revoked"),
    Row("is_token_callback_set", ""),
    Row("set_access_cookies(token, response)", "gate.set_cookies(response, pair)", "both, and the CSRF cookie"),
    Row("set_refresh_cookies(token, response)", "gate.set_cookies(response, pair)"),
    Row("unset_cookies(response)", "gate.clear_cookies(response)", "the end of a session is gate.sessions.end(sid)"),
    Row("unset_access_cookies(response)", "gate.clear_cookies(response)"),
    Row("unset_refresh_cookies(response)", "gate.clear_cookies(response)"),
    Row("implicit_refresh_middleware", "ROTATE_AFTER", IMPLICIT),
    Row("rate_limited(…)", "", "not the gate's: a proxy's or a middleware's of its own"),
    Row("set_session_store(store)", "STORE", SESSIONS),
    Row("create_session(uid)", "gate.sessions.start(uid)"),
    Row("get_session(id)", "gate.sessions.list(sub)"),
    Row("list_sessions(uid)", "gate.sessions.list(sub)"),
    Row("revoke_session(id)", "gate.sessions.end(sid, wait=True)"),
    Row("revoke_all_sessions(uid)", "gate.sessions.end_all(sub, wait=True)"),
    Row("DEPENDENCY", "request.scope['jwtgate.gate']"),
    Row("BUNDLE", "request.scope['jwtgate.gate']"),
    Row("get_dependency(request, response)", "request.scope['jwtgate.gate']"),
    Row("PolicyEngine", "", POLICIES),
    Row("AuthManager", "ISSUERS", "several kinds of login are several issuers"),
)
