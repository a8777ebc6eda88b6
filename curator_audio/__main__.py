"""``python -m curator_audio``."""

import os

from curator_audio.modules import take_from_front

if __name__ == "__main__":
    take_from_front(os.getcwd())

    from curator_audio.cli import command

    command()
