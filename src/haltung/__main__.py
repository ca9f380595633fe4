"""``python -m haltung`` is ``haltung``."""

import sys

from haltung.cli import main

sys.exit(main())
