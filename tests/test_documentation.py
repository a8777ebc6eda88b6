"""What README and tutorials show is what happens."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from curator_audio.testing import assert_stage, segment, tone

REPOSITORY = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for pattern in ("*.md", "docs/*.md", "tutorials/*/*.md", "benchmarking/*.md", "benchmarking/*/*.md")
    for path in REPOSITORY.glob(pattern)
)
EXAMPLES = ["README.md", "tutorials/alm_windows/README.md"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text_of(document: str) -> str:
    return (REPOSITORY / document).read_text(encoding="utf-8")


def shown_runs(document: str) -> Iterator[tuple[str, str]]:
    """Every command of which the document shows the summary, and the summary."""
    command = ""
    for kind, block in BLOCK.findall(text_of(document)):
        if kind == "bash":
            command = block
        elif kind == "text" and block.startswith("PIPELINE"):
            yield command.replace("\\\n", " ").rpartition("&&")[2].strip(), block


def without_times(summary: str) -> str:
    return re.sub(r"(mean|total)=[\d.]+s", r"\1=…", summary)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder in which the documents' commands can be given as they stand, and write."""
    for name in ("main.py", "tutorials"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    return tmp_path


def run(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=120, cwd=checkout, env=environment
    )


@pytest.mark.parametrize("document", EXAMPLES)
def test_commands_print_what_the_document_shows(document: str, checkout: Path) -> None:
    runs = list(shown_runs(document))
    assert runs
    for command, summary in runs:
        program, *arguments = shlex.split(command)
        assert program == "python"
        done = run(checkout, *arguments)
        assert done.returncode == 0, done.stderr
        assert without_times(done.stdout) == without_times(summary)


@pytest.mark.parametrize("document", EXAMPLES)
def test_python_examples_run(document: str, checkout: Path) -> None:
    """Those that are marked, after the document's first command; the output shown behind one is what it prints."""
    found = re.search(r"<!-- python -->\n```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", text_of(document), re.DOTALL)
    assert found is not None
    command, _ = next(shown_runs(document))
    assert run(checkout, *shlex.split(command)[1:]).returncode == 0
    done = run(checkout, "-c", found[1])
    assert done.returncode == 0, done.stderr
    assert found[2] is None or done.stdout == found[2]


def test_the_parameter_table_is_complete_and_true() -> None:
    base, own = (
        yaml.safe_load((REPOSITORY / "pipelines" / f"{name}.yaml").read_text(encoding="utf-8"))
        for name in ("run", "pipeline")
    )
    config: dict[str, Any] = {**base, **own}
    expected = {name: value for name, value in config.items() if name not in ("defaults", "name", "stages", "after")}
    del expected["publish"]  # see below
    expected["executor"] = base["defaults"][0]["executor"]
    for index, stage in enumerate(config["stages"]):
        expected |= {f"stages.{index}.{key}": value for key, value in stage.items() if key not in ("_target_", "name")}
    for name in ("manifest_path", "limit"):
        del expected[f"stages.0.{name}"]  # the same as above
    parameters = text_of("README.md").split("## Parameters")[1].split("## Input")[0]
    table = dict(re.findall(r"^\| `([\w.]+)` \| (.*?) \|", parameters, re.MULTILINE))
    assert table["manifest_path"] == "must be given" and expected.pop("manifest_path") == "???"
    del table["manifest_path"]
    shown = {name: default.split("`")[1] for name, default in table.items()}
    as_written = {"True": "true", "False": "false", "None": "null"}
    assert shown == {name: as_written.get(str(value), str(value)) for name, value in expected.items()}


def test_the_table_of_publishing_is_complete_and_true() -> None:
    base = yaml.safe_load((REPOSITORY / "pipelines" / "run.yaml").read_text(encoding="utf-8"))
    section = text_of("README.md").split("## Publishing")[1].split("\n## ")[0]
    table = dict(re.findall(r"^\| `publish\.(\w+)` \| `(.*?)` \|", section, re.MULTILINE))
    assert {name: yaml.safe_load(default) for name, default in table.items()} == base["publish"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", text_of(document)):
        if "://" not in target:
            assert (REPOSITORY / document).parent.joinpath(target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS)
def test_anchors_are_headings(document: str) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", text_of(document)):
        if "://" not in target:
            path = (REPOSITORY / document).parent / target if target else REPOSITORY / document
            headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_commands_of_the_readme_are_marked_for_the_build(checkout: Path) -> None:
    (checkout / "README.md").symlink_to(REPOSITORY / "README.md")
    listed = run(checkout, str(REPOSITORY / ".ci" / "readme.py"), "list")
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.split()[:2] == ["sample", "tests"]
    text = text_of("README.md")
    assert len(listed.stdout.split()) + text.count("<!-- elsewhere: ") == len(
        re.findall("^```bash$", text, re.MULTILINE)
    )


def shown_stage(document: str, name: str, folder: Path) -> dict[str, Any]:
    """What the blocks of a document define that speak of a stage, run one after the other."""
    imports = "from dataclasses import dataclass\nfrom curator_audio import RecordStage\n"
    imports += "from curator_audio.testing import assert_stage\n"
    blocks = [block for kind, block in BLOCK.findall(text_of(document)) if kind == "python" and name in block]
    (folder / "shown.py").write_text(imports + "\n".join(blocks), encoding="utf-8")
    return runpy.run_path(str(folder / "shown.py"))


def test_the_stage_in_the_readme_does_what_is_shown_behind_it(tmp_path: Path) -> None:
    assert shown_stage("README.md", "CountWords", tmp_path)["CountWords"]().name == "count_words"


def test_the_stage_in_the_architecture_runs(tmp_path: Path) -> None:
    stage = shown_stage("ARCHITECTURE.md", "MyJobStage", tmp_path)["MyJobStage"]()
    record = segment(tone(rms_db=-20.0))
    assert_stage(stage, [record], [{**record, "my_field": pytest.approx(0.1 * 2**0.5, abs=1e-3)}])
