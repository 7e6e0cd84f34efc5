"""Flask-JWT-Extended 4.7: its settings and names."""

from __future__ import annotations

from jwtgate.moving.cookie_rows import PLACES, SHARED
from jwtgate.moving.rows import Row

__all__ = ["NAMES", "SETTINGS"]

ONE_ANSWER = "answers are the gate's, the same for every bad token; @app.errorhandler(JWTGateError) has your own for views"
NO_SECOND_LOOK = "a token is verified before any view, and what is not verified is not read"

SETTINGS = (
    *SHARED,
    Row("JWT_DECODE_ALGORITHMS", "ALGORITHMS", "an allow-list, each bound to its own key"),
    Row("JWT_DECODE_LEEWAY", "LEEWAY", "seconds"),
    Row("JWT_IDENTITY_CLAIM", "HANDLES", "the subject is sub alone; tokens that have another are named by claim=(name, value)"),
    Row("JWT_ENCODE_NBF", "", "ours have no nbf; where a token has one, it counts"),
    Row("JWT_VERIFY_SUB", "", "sub is a text, or the token is refused"),
    Row("JWT_QUERY_STRING_VALUE_PREFIX", "", PLACES),
)

GATE = "gate = request.environ['jwtgate.gate']"

NAMES = (
    Row("JWTManager(app)", "JWTGate(app)", "of jwtgate.frameworks.flask; every path but EXEMPT needs a token"),
    Row("create_access_token(identity)", "gate.sessions.start(identity).access_token", f"{GATE}; without a session gate.issue"),
    Row("create_refresh_token(identity)", "gate.sessions.start(identity).refresh_token", "of the same call"),
    Row("@jwt_required()", "@token_required", "needed on exempt paths alone: the middleware asks of all others"),
    Row("@jwt_required(optional=True)", "@token_required(optional=True)", "with MODE=optional"),
    Row("@jwt_required(fresh=True)", "@token_required(fresh=300)", "seconds since the password, by auth_time"),
    Row("@jwt_required(refresh=True)", "POST ENDPOINTS/refresh", "an endpoint, no view of yours"),
    Row("verify_jwt_in_request()", "", "the middleware has"),
    Row("get_jwt_identity()", "current_token.subject"),
    Row("get_jwt()", "current_token.claims", "immutable"),
    Row("get_jwt_header()", "current_token.header"),
    Row("get_jwt_request_location()", "current_token.source", "header, cookie or subprotocol"),
    Row("current_user", "your own look-up by current_token.subject"),
    Row("get_current_user()", "your own look-up by current_token.subject"),
    Row("decode_token(token)", "gate.verify(token)", "the whole decision, revocations too"),
    Row("get_jti(token)", "gate.verify(token).token_id"),
    Row("get_unverified_jwt_headers(token)", "", NO_SECOND_LOOK),
    Row("get_csrf_token(token)", "", "set_cookies puts it into its cookie"),
    Row("set_access_cookies(response, token)", "gate.set_cookies(response, pair)", "both, and the CSRF cookie"),
    Row("set_refresh_cookies(response, token)", "gate.set_cookies(response, pair)"),
    Row("unset_jwt_cookies(response)", "gate.clear_cookies(response)", "the end of a session is gate.sessions.end(sid)"),
    Row("unset_access_cookies(response)", "gate.clear_cookies(response)"),
    Row("unset_refresh_cookies(response)", "gate.clear_cookies(response)"),
    Row("token_in_blocklist_loader", "", "not needed: gate.revoke(jti=…, sub=…), gate.sessions.end(sid) hold everywhere"),
    Row("additional_claims_loader", "claims= of gate.sessions.start", "and @gate.claims for each refresh"),
    Row("additional_headers_loader", "", "the header is the gate's: typ, alg, kid"),
    Row("user_identity_loader", "", "the subject is a text: str(user.id)"),
    Row("user_lookup_loader", "your own look-up by current_token.subject", "@gate.check refuses whom it does not find"),
    Row("user_lookup_error_loader", "@gate.check", "one that refuses"),
    Row("token_verification_loader", "@gate.check"),
    Row("token_verification_failed_loader", "", ONE_ANSWER),
    Row("decode_key_loader", "ISSUERS, JWKS_FILE, JWKS_URL", "keys by issuer and kid"),
    Row("encode_key_loader", "PRIVATE_KEYS, DERIVED_KEYS", "keys that rotate; a key for each subject"),
    Row("expired_token_loader", "", ONE_ANSWER),
    Row("invalid_token_loader", "", ONE_ANSWER),
    Row("needs_fresh_token_loader", "", "insufficient_user_authentication (RFC 9470)"),
    Row("revoked_token_loader", "", ONE_ANSWER),
    Row("unauthorized_loader", "", ONE_ANSWER),
)
