"""Fit the model on what ETL made, and score it beside naive forecasts: see --help."""

from loadcast.cli.runs import train

if __name__ == "__main__":
    train()
