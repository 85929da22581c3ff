"""`python -m loadcast`."""

from loadcast.cli.main import main

if __name__ == "__main__":
    main(prog_name="loadcast")
