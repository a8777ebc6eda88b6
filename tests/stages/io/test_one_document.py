"""Manifests that are one JSON document: told before anything runs, and told apart from manifests with broken lines."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from curator_audio.cli import main
from curator_audio.stages.io.one_document import kind_of_document
from tests.conftest import make_entry

ENTRIES = [make_entry(seed) for seed in range(3)]
PRETTY_LIST, PRETTY_OBJECT = json.dumps(ENTRIES, indent=2), json.dumps(ENTRIES[0], indent="\t")
RECORD_A_LINE_IN_A_LIST = "[\n" + ",\n".join(map(json.dumps, ENTRIES)) + "\n]"
LINES = "\n".join(map(json.dumps, ENTRIES)) + "\n"


@pytest.mark.parametrize("cut", [None, 4000, 4001, 4002, 4003, 4004, 4005, 4006, 4007, 4008, 4009, 4010])
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (PRETTY_LIST, "list"),
        (f"\n\n  {PRETTY_LIST}", "list"),
        (f"\ufeff{PRETTY_LIST}\n", "list"),
        (PRETTY_LIST.replace("\n", "\r\n"), "list"),
        (json.dumps(ENTRIES), "list"),
        (RECORD_A_LINE_IN_A_LIST, "list"),
        (PRETTY_OBJECT * 2, "object"),
        (json.dumps({"data": ENTRIES}, indent=1), "object"),
    ],
)
def test_a_document_is_told_from_its_start(text: str, kind: str, cut: int | None) -> None:
    data = text.encode()
    assert len(data) > 4010
    assert kind_of_document(data[:cut], is_whole=cut is None) == kind


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n \n",
        LINES,
        f"\n\n{LINES}",
        json.dumps(ENTRIES[0]),
        json.dumps(ENTRIES[0]) + "\r\n" + '{"a":\n',
        '{"segments": [\n' + LINES,
        '{"segments": \n' + LINES,
        "[\n" + LINES,
        "{\n" + LINES,
        '{"text": "cut\n' + LINES,
        '[{"segments": []}]\n' + LINES,
        "[1, 2, 3]\n",
        '"text"\n' + LINES,
        "not JSON\n[\n1]",
        "[" * 100_000,
    ],
)
def test_what_has_lines_is_read_however_broken_they_are(text: str) -> None:
    assert kind_of_document(text.encode(), is_whole=True) == ""


def test_a_first_line_that_is_cut_and_a_second_longer_than_the_sample_is_no_document() -> None:
    assert kind_of_document(b'{"segments": [\n{"text": "' + b"x" * 5000, is_whole=False) == ""


@pytest.mark.parametrize(
    ("name", "text", "command"),
    [
        ("in.json", PRETTY_LIST, "jq -c '.[]' {path} > manifest.jsonl"),
        ("in.jsonl", PRETTY_OBJECT, "jq -c . {path} > manifest.jsonl"),
        ("in.json.gz", RECORD_A_LINE_IN_A_LIST, "gunzip -c {path} | jq -c '.[]' > manifest.jsonl"),
    ],
)
@pytest.mark.parametrize("pipeline", ["pipeline", "segment"])
def test_the_command_line_says_what_to_do(
    name: str, text: str, command: str, pipeline: str, tmp_path: Path, capsys: Any
) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    out = tmp_path / "out"
    status = main([f"--config-name={pipeline}", "executor=local", f"manifest_path={tmp_path}", f"output_dir={out}"])
    assert status == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path} is one JSON ") and line.endswith(command.format(path=path))
    assert not list(out.rglob("*.json*"))
