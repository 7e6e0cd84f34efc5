"""Redis (from 7.0) and Valkey as a store. ``store`` asks, ``wire`` carries, the rules stand in ``scripts``."""

from jwtgate.stores.redis.store import RedisStore

__all__ = ["RedisStore"]
