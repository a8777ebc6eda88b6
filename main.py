"""Run a pipeline from a checkout; the same as the command ``curator-audio``."""

import sys

from curator_audio.cli import main

if __name__ == "__main__":
    sys.exit(main())
