"""Run a pipeline from a checkout; the same as the command ``curator-audio``."""

import os

from curator_audio.modules import take_from_front

if __name__ == "__main__":
    take_from_front(os.path.dirname(os.path.abspath(__file__)))

    from curator_audio.cli import command

    command()
