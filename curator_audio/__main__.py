"""``python -m curator_audio``."""

from curator_audio.cli import command

if __name__ == "__main__":
    command()
