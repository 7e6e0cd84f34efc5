"""``python -m jwtgate`` is ``jwtgate``."""

import sys

from jwtgate.cli import main

sys.exit(main())
