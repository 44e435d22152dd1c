"""The service computes nothing itself: numpy and the vendor's library stay in the worker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_service_imports_neither_numpy_nor_the_vendors_library() -> None:
    unwanted = {"numpy", "ml_dtypes", "axengine"}
    code = f"import sys, backend; print(sorted({unwanted} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
