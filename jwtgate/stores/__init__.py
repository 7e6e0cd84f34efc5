"""Remembers: where rulings and the change log live. One contract, kept by one conformance suite."""

from jwtgate.stores.contract import Feed, Store
from jwtgate.stores.opening import open_store
from jwtgate.stores.partitioned import PartitionedStore

__all__ = ["Feed", "PartitionedStore", "Store", "open_store"]
