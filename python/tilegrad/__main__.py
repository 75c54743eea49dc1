"""``python -m tilegrad``: the same as the command ``tilegrad``."""

from tilegrad.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
