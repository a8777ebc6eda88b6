"""A folder is the same with and without a slash at its end, and with two where one would do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from curator_audio.cli import main
from curator_audio.storage.storage import Storage
from tests.conftest import make_entry
from tests.stages.speech.windows import recording

SPELLINGS = ("{}", "{}/", "{}///", "{}//")


@pytest.fixture(params=["local", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "local" else f"{request.getfixturevalue('s3_bucket')}/team"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a run says that ends well."""
    status = main([*arguments, "executor=local"])
    out, err = capsys.readouterr()
    assert status == 0, err
    return out


def test_it_is_one_output_folder(root: str, capsys: pytest.CaptureFixture[str]) -> None:
    storage = Storage()
    for number in range(2):
        line = json.dumps(make_entry(number)).encode() + b"\n"
        storage.write(f"{root}/manifests/{number}.jsonl", line)
    before: dict[str, str] = {}

    for spelling in SPELLINGS:
        manifests, out = spelling.format(f"{root}/manifests"), spelling.format(f"{root}/out")
        told = run(capsys, f"manifest_path={manifests}", f"output_dir={out}", "output_path=${output_dir}/shards/")

        paths = [file.path for file in storage.list_files(root)]
        assert not [path for path in paths if "//" in path.removeprefix("s3://")]
        shards = {file.path: file.version for file in storage.list_files(f"{root}/out/shards")}
        assert len(shards) == 2
        if before:
            assert "2 of them by an earlier run" in told
            assert shards == before
        before = shards


def test_it_is_one_folder_of_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "talk.wav").write_bytes(recording(3.0))
    segment = {"start": 0.5, "end": 2.0, "text": "so be it", "speaker": "a"}
    (tmp_path / "in.jsonl").write_text(json.dumps({"audio_filepath": "talk.wav", "segments": [segment]}))

    for number, spelling in enumerate(SPELLINGS):
        audio_dir = spelling.format(tmp_path / "audio")
        paths = (f"manifest_path={tmp_path}/in.jsonl", f"audio_dir={audio_dir}", f"output_dir={tmp_path}/out")
        told = run(capsys, "--config-name=segment", *paths)
        assert ("1 of them by an earlier run" in told) == bool(number)


def test_a_tree_of_shards_is_found_below_it(root: str, capsys: pytest.CaptureFixture[str]) -> None:
    storage = Storage()
    storage.write(f"{root}/tree/spk/book/a.txt", b"hello")
    for spelling in SPELLINGS:
        told = run(
            capsys,
            "--config-name=transfer",
            f"input_path={spelling.format(f'{root}/tree')}",
            f"output_dir={spelling.format(f'{root}/copy')}",
        )
        assert "Quarantined" not in told
        assert storage.read(f"{root}/copy/spk/book/a.txt") == b"hello"
    assert len([file for file in storage.list_files(root) if file.path.endswith("a.txt")]) == 2
