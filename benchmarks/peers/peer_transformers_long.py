"""transformers, longer: ``peer_transformers`` with eight epochs instead of three, a warm-up over
the first tenth of the steps, and the best epoch on dev.
"""

import runpy
import sys
from pathlib import Path

sys.argv.append("8")
runpy.run_path(str(Path(__file__).with_name("peer_transformers.py")), run_name="__main__")
