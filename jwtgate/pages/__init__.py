"""The pages of the console and of the devices: drawing alone, from what it is given."""

from jwtgate.pages.drawing import NotInstalled, Pages, Static

__all__ = ["NotInstalled", "Pages", "Static"]
