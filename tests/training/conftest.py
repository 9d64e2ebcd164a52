"""Makes tiny_runs.py importable by the tests of this folder, and by the processes they start."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
