"""Forecast the next 48 hours of each server with a running scoring service: see --help."""

from loadcast.cli.program import run

if __name__ == "__main__":
    run("score", "score")
