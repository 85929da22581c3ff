"""Session logs in; features, statistics, encoders and a quality report out: see --help."""

from loadcast.cli.runs import etl

if __name__ == "__main__":
    etl()
