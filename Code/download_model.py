"""The newest model from the output's container to a local folder: see --help and Docs/DownloadModelsFromBlob.md."""

from loadcast.cli.program import run

if __name__ == "__main__":
    run("download", "download")
