"""Forecast the next 48 hours of each server with a running scoring service: see --help."""

from loadcast.cli.score import score

if __name__ == "__main__":
    score()
