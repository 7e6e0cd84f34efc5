"""The gate's operations as plans: ``composed`` what one process has, of its parts."""

from jwtgate.plans.composed import Plans

__all__ = ["Plans"]
