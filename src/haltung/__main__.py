"""``python -m haltung`` is ``haltung``."""

import os
import sys

from haltung.cli import main

code = main()
if "TORCHELASTIC_RUN_ID" in os.environ:
    # Threads of torch's gloo may abort a process at exit, and the training would count as failed.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)
sys.exit(code)
