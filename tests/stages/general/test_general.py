"""The stages every manifest needs sooner or later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curator_audio.errors import ConfigurationError
from curator_audio.pipeline.pipeline import parameters
from curator_audio.stages.base import WorkerInfo
from curator_audio.stages.general import (
    CallFunctionStage,
    DropFieldsStage,
    GetAudioDurationStage,
    PreserveByValueStage,
    RenameFieldsStage,
    SelectFieldsStage,
)
from curator_audio.tasks import AudioBatch
from curator_audio.testing import assert_stage


@pytest.mark.parametrize(
    ("operator", "kept"),
    [("lt", [1]), ("le", [1, 2]), ("eq", [2]), ("ne", [1, 3]), ("ge", [2, 3]), ("gt", [3])],
)
def test_preserve_by_value(operator: str, kept: list[int]) -> None:
    stage = PreserveByValueStage("duration", 2, operator)
    assert_stage(stage, [{"duration": 1}, {"duration": 2}, {"duration": 3}], [{"duration": value} for value in kept])


def test_preserve_by_value_sets_aside_what_cannot_be_compared() -> None:
    stage = PreserveByValueStage("duration", 2.0, "ge")
    quarantined = {"not_comparable": 1, "missing_field": 1}
    assert_stage(stage, [{"duration": "long"}, {}, {"duration": 3}], [{"duration": 3}], quarantined=quarantined)


def test_preserve_by_value_knows_its_operators() -> None:
    with pytest.raises(ConfigurationError, match="operator is 'between'; give one of lt, le, eq, ne, ge, gt"):
        PreserveByValueStage("duration", 2, "between")


def test_select_drop_and_rename() -> None:
    record = {"text": "a", "words": [], "duration": 1.5}
    assert list(SelectFieldsStage("duration, text, speaker").process_record(record)) == ["duration", "text"]
    assert DropFieldsStage(["words", "speaker"]).process_record(record) == {"text": "a", "duration": 1.5}
    assert list(RenameFieldsStage({"words": "tokens"}).process_record(record)) == ["text", "tokens", "duration"]
    assert record == {"text": "a", "words": [], "duration": 1.5}


def test_two_fields_can_swap_names_but_none_is_overwritten() -> None:
    assert RenameFieldsStage({"a": "b", "b": "a"}).process_record({"a": 1, "b": 2}) == {"b": 1, "a": 2}
    assert_stage(RenameFieldsStage({"a": "b"}), [{"a": 1, "b": 2}], quarantined={"name_taken": 1})
    with pytest.raises(ConfigurationError, match="the same name"):
        RenameFieldsStage({"a": "c", "b": "c"})


@pytest.mark.parametrize("names", [[], "", None, [1], {"a": 1}])
def test_field_names_are_checked(names: Any) -> None:
    with pytest.raises(ConfigurationError, match="give a list of field names"):
        DropFieldsStage(names)


def test_call_function() -> None:
    stage = CallFunctionStage("tests.functions.noted", {"log_path": "/dev/null"})
    assert stage.process_record({"audio_filepath": "a.wav"}) == {"audio_filepath": "a.wav"}
    for name, message in (
        ("len", "'len' is not a dotted name"),
        ("no_such_module.f", "cannot be imported"),
        ("math.nothing", "'nothing' is not there in module math; give the name of a function"),
        ("curator_audio.stages.io.ManifestReader", "stages.io; did you mean 'ManifestReaderStage'"),
        ("math.pi", "'pi' is a float"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            CallFunctionStage(name)


def test_audio_duration_of_real_files(tmp_path: Path) -> None:
    import numpy as np
    import soundfile

    tone = np.sin(np.arange(24000) / 20).astype("float32")
    soundfile.write(tmp_path / "a.wav", tone, 16000)
    soundfile.write(tmp_path / "b.flac", tone, 8000)
    soundfile.write(tmp_path / "c.ogg", tone, 48000, format="OGG", subtype="OPUS")
    (tmp_path / "broken.wav").write_bytes(b"RIFF, but nothing that follows")
    stage = GetAudioDurationStage()
    names = {"audio_filepath_key", "duration_key", "audio_dir", "timeline", "channel", "audio_track", "allowed_schemes"}
    assert names <= set(parameters(stage))
    stage.setup(WorkerInfo())
    records = [{"audio_filepath": name} for name in ("a.wav", str(tmp_path / "b.flac"), "c.ogg", "broken.wav")]
    records += [{"audio_filepath": "missing.wav"}, {"audio_filepath": "../out.wav"}, {"audio_filepath": 3}]
    batch = stage.process(AudioBatch(records, str(tmp_path / "manifest.jsonl")))
    assert [record["duration"] for record in batch.records] == [1.5, 3.0, pytest.approx(0.5, abs=0.01)]
    bad = stage.take_observations().quarantined
    assert [one.reason for one in bad] == ["unreadable_audio", "unreadable_file", "path_leaves_root", "wrong_type"]


def test_audio_duration_over_s3(tmp_path: Path, s3_bucket: str) -> None:
    import numpy as np
    import soundfile

    from curator_audio.storage.storage import Storage

    soundfile.write(tmp_path / "a.flac", np.zeros(16000, "float32"), 16000)
    Storage().write(f"{s3_bucket}/corpus/a.flac", (tmp_path / "a.flac").read_bytes())
    stage = GetAudioDurationStage()
    batch = stage.process(AudioBatch([{"audio_filepath": "a.flac"}], f"{s3_bucket}/corpus/manifest.jsonl"))
    assert batch.records[0]["duration"] == 1.0
