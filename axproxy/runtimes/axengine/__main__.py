"""The worker: loads a model with PyAXEngine and serves it on a Unix socket.

python -m axproxy.runtimes.axengine --socket PATH --model-path DIR [--provider card] [--device 0]
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from axproxy.models.axengine_folder import AxengineFolder
from axproxy.models.folder import ModelFolderError
from axproxy.runtimes.axengine.worker.loading import CannotLoad, Loader
from axproxy.runtimes.axengine.worker.server import WorkerServer


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--model-path", type=Path, required=True)
    parser.add_argument("--provider", choices=("auto", "card", "board"), default="auto")
    parser.add_argument("--device", type=int, default=0)
    options = parser.parse_args(arguments)
    # A load cannot be broken off without harm to the card; the supervisor repeats its signal.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        loader = Loader(options.provider, options.device)
        model = loader.load(AxengineFolder.read(options.model_path))
        server = WorkerServer(options.socket, model, loader.provider, loader.work)
    except (CannotLoad, ModelFolderError, OSError) as error:
        print(f"cannot serve: {error}", flush=True)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    signal.signal(signal.SIGINT, lambda *_: server.stop())
    print(f"serving with {loader.provider}", flush=True)
    server.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
