"""Run a pipeline from a checkout; the same as the command ``curator-audio``."""

from curator_audio.cli import command

if __name__ == "__main__":
    command()
