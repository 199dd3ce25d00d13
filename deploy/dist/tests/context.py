"""Lets the tests import the scripts of a release, and the tests' view of the template."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
for folder in ("deploy/dist", "tests/template"):
    sys.path.insert(0, str(ROOT / folder))
