"""What is said where NeMo Curator is not installed, and what is not imported before it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

from curator_audio.errors import ConfigurationError
from curator_audio.interop.nemo_curator import CuratorStage, for_curator
from curator_audio.stages.general import DropFieldsStage


@pytest.mark.parametrize(
    "use", [lambda: CuratorStage("nemo_curator.stages.audio.common.A"), lambda: for_curator(DropFieldsStage(["a"]))]
)
def test_that_it_is_not_installed_is_told_with_the_remedy(use, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "nemo_curator"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "nemo_curator", None)

    with pytest.raises(
        ConfigurationError, match=r"need nemo_curator, which is not installed; pip install 'curator-audio\[nemo\]'"
    ):
        use()


def test_nothing_heavy_is_imported_before_a_stage_is_made():
    script = (
        "import sys, curator_audio.interop.nemo_curator; print({'torch', 'ray', 'nemo_curator'} & set(sys.modules))"
    )

    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "set()\n"
