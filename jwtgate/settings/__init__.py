"""What a gate is told: every setting, its default, its meaning and what it may be (table.py first)."""

from jwtgate.settings.table import Settings
from jwtgate.settings.urls import mask_url
from jwtgate.settings.variables import Variable, variables

__all__ = ["Settings", "Variable", "mask_url", "variables"]
