"""Serve a trained bundle over HTTP: see --help. `init` and `run` score without HTTP, as in the public sample."""

from loadcast.cli.serve import serve
from loadcast.serving.api import init, run

__all__ = ["init", "run"]

if __name__ == "__main__":
    serve()
