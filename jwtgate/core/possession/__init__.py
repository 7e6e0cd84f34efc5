"""Tokens that are bound to their sender: DPoP proofs (RFC 9449) and client certificates (RFC 8705)."""
