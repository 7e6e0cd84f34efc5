"""Remembers: where rulings and the change log live. One contract, kept by one conformance suite."""

from jwtgate.stores.contract import (
    Entry,
    Epoch,
    Facts,
    Feed,
    LogEnd,
    Renewal,
    Repair,
    Store,
    Watch,
    Worker,
    Written,
)
from jwtgate.stores.opening import open_store

__all__ = [
    "Entry",
    "Epoch",
    "Facts",
    "Feed",
    "LogEnd",
    "Renewal",
    "Repair",
    "Store",
    "Watch",
    "Worker",
    "Written",
    "open_store",
]
