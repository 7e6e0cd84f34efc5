"""``jwtgate demo``: a real Valkey, two real applications with two workers each, and revocations held against the clock."""
