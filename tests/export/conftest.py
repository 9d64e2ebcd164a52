"""Lets the tests in this folder import the finished runs beside them."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
