"""As daemon.py, for workers that read from, or write to, containers: the blob client takes half a second to import."""

from __future__ import annotations

import loadcast.storage.blob.staging  # noqa: F401
from loadcast.spark import daemon

if __name__ == "__main__":
    daemon.main()
