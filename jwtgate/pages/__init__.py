"""The pages of the console and of the devices: drawing alone, from what it is given."""

from jwtgate.pages.drawing import SECURITY, NotInstalled, Pages, Static

__all__ = ["SECURITY", "NotInstalled", "Pages", "Static"]
