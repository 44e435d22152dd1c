"""A folder of links to a model's files, with a `config.json` of ours.

`axllm` takes its port and limits from that file.  The owner's folder is never written to.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from axproxy.models.axllm_folder import CONFIG, AxllmFolder

STREAM_TIMEOUT_MS = (
    86_400_000  # the program cuts a stream after it, whatever flows; we watch stalls
)


class ShadowFolder:
    """Makes the folder anew for each start, and removes it at the end.

    It lies in the folder for temporary files, which only this user may read; under systemd that is
    the service's own.
    """

    def __init__(self) -> None:
        self._path: Path | None = None

    def make(self, model: AxllmFolder, port: int) -> Path:
        """Return the folder.  Raises `OSError`."""
        self.remove()
        prefix = f"ax650-axllm-{port}-"
        for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):  # by a service that was killed
            shutil.rmtree(left, ignore_errors=True)
        self._path = folder = Path(tempfile.mkdtemp(prefix=prefix))
        for entry in model.folder.iterdir():
            if entry.name != CONFIG:
                (folder / entry.name).symlink_to(entry)
        config = overridden(model.config, port)
        (folder / CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False))
        return folder

    def remove(self) -> None:
        """Remove the folder and its links; what they lead to stays."""
        folder, self._path = self._path, None
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def overridden(config: Mapping[str, Any], port: int) -> dict[str, Any]:
    """Return the owner's configuration with what the service decides."""
    return {**config, "port": port, "server_timeout_ms": STREAM_TIMEOUT_MS}
