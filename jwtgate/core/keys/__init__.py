"""Keys of one issuer: read, published, rotated, fetched, derived; which one signs and which one verifies."""
