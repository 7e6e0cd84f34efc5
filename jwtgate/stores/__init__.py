"""Remembers: where rulings and the change log live. One contract, kept by one conformance suite."""

from jwtgate.stores.contract import Feed, Store
from jwtgate.stores.journaled import JournaledStore
from jwtgate.stores.opening import open_journal, open_store

__all__ = ["Feed", "JournaledStore", "Store", "open_journal", "open_store"]
