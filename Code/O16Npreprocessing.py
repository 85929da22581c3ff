"""Hourly and daily statistics alone, for a month to be scored: see --help."""

from loadcast.cli.program import run

if __name__ == "__main__":
    run("jobs", "stats")
