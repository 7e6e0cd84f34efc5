"""What a gate is told: every setting, its default, its meaning and what it may be (table.py first)."""

from jwtgate.settings.table import Settings, Variable, variables
from jwtgate.settings.urls import mask_url

__all__ = ["Settings", "Variable", "mask_url", "variables"]
