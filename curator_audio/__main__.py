"""``python -m curator_audio``."""

import sys

from curator_audio.cli import main

if __name__ == "__main__":
    sys.exit(main())
