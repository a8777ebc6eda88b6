"""The package needs no PyTorch; what needs it says so."""

from __future__ import annotations

import subprocess
import sys


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_importing_the_package_does_not_import_torch() -> None:
    done = run("import sys, curator_audio; print('torch' in sys.modules)")
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


def test_without_torch_the_message_says_what_to_install() -> None:
    done = run("import sys; sys.modules['torch'] = None; import curator_audio.training")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last == "ImportError: curator_audio.training needs PyTorch, which is not installed: pip install torch"
