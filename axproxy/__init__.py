"""The parts of the service, each about one noun.

The root modules (`backend.py`) compose these parts; no part imports the root.  Which part may
import which is a table in tests/layers/test_layers.py.
"""

__version__ = "0.9.0"
