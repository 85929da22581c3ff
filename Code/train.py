"""Fit the model on what ETL made, and score it beside naive forecasts: see --help."""

from loadcast.cli.program import run

if __name__ == "__main__":
    run("jobs", "train")
