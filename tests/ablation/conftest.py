"""Makes toy_cells.py importable by the tests of this folder, and by the workers they start."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
