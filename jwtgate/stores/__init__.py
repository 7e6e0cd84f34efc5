"""Remembers: where rulings and the change log live. One contract, kept by one conformance suite."""

from jwtgate.stores.contract import Feed, Store
from jwtgate.stores.opening import open_store

__all__ = ["Feed", "Store", "open_store"]
