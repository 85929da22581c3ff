"""Session logs in; features, statistics, encoders and a quality report out: see --help."""

from loadcast.cli.program import run

if __name__ == "__main__":
    run("jobs", "etl")
