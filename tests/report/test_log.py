"""Messages are for people."""

from __future__ import annotations

import subprocess
import sys


def test_a_message_is_a_line_on_standard_error() -> None:
    script = "from loguru import logger; from curator_audio.report.log import log_plainly; log_plainly();"
    script += "logger.debug('no'); logger.info('so be it'); logger.warning('mind {this}')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "INFO: so be it\nWARNING: mind {this}\n")
