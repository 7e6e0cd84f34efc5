"""The life of a login: begun, refreshed, rotated, ended."""
