"""``python -m haltung`` is ``haltung``."""

import os
import sys

from haltung.cli import main

code = main()
if "TORCHELASTIC_RUN_ID" in os.environ:
    # The threads of torch's gloo now and then abort a process that ends by itself, so that a
    # training which is complete would count as failed.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)
sys.exit(code)
