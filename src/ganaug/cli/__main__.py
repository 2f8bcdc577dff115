"""``python -m ganaug.cli`` is ``ganaug``."""

from __future__ import annotations

import sys

from ganaug.cli import main

__all__: list[str] = []

sys.exit(main())
