"""Hourly and daily statistics alone, for a month to be scored: see --help."""

from loadcast.cli.runs import stats

if __name__ == "__main__":
    stats()
