"""``python -m buir``: the command line."""

from buir.cli import main

if __name__ == "__main__":
    main()
