"""Remembers: where rulings and the change log live. One contract, kept by one conformance suite."""

from jwtgate.stores.contract import Feed, Store
from jwtgate.stores.journaled import JournaledStore
from jwtgate.stores.opening import open_journal, open_store
from jwtgate.stores.partitioned import PartitionedStore

__all__ = ["Feed", "JournaledStore", "PartitionedStore", "Store", "open_journal", "open_store"]
