"""`python -m loadcast`."""

from loadcast.cli.program import main

if __name__ == "__main__":
    main()
