from __future__ import annotations

import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator_audio.errors import ConfigurationError, StorageError
from curator_audio.stages.speech import NpzReaderStage
from curator_audio.storage.storage import Storage
from curator_audio.tasks import Record
from tests.segments import RATE, npz

BYTE = 2**-20


def records(reader: NpzReaderStage) -> list[Record]:
    return [r for partition in reader.partitions() for batch in reader.process(partition) for r in batch.records]


def write(root: str, files: dict[str, bytes]) -> None:
    for key, data in files.items():
        Storage().write(f"{root}/{key}", data)


@pytest.fixture(params=["local", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{request.getfixturevalue('s3_bucket')}/npz" if request.param == "s3" else f"{tmp_path}/npz"


def test_channel_and_name_are_in_the_path(root: str) -> None:
    write(root, {f"news/show_seg_{k}.npz": npz(0.1 * (k + 1), text=f"text {k}") for k in (0, 2, 10)})
    reader = NpzReaderStage(root)
    (partition,) = reader.partitions()
    (batch,) = reader.process(partition)
    assert (batch.source_path, batch.offsets) == (root, [-1, -1, -1])
    assert [batch.path_of(index) for index in range(3)] == [f"{root}/news/show_seg_{k}.npz" for k in (0, 2, 10)]
    assert [(r["channel"], r["segment_id"], r["audio_id"], r["text"], r["duration_sec"]) for r in batch.records] == [
        ("news", "news/show_seg_0", "show", "text 0", 0.1),
        ("news", "news/show_seg_2", "show", "text 2", 0.3),
        ("news", "news/show_seg_10", "show", "text 10", 1.1),
    ]


def test_segments_of_a_recording_come_together_and_in_order(tmp_path: Path) -> None:
    names = ["a_seg_1", "a_seg_10", "a_seg_2", "a2_seg_0", "a_x", "a-b_seg_0", "a_seg_b", "b_seg_3"]
    write(f"{tmp_path}/npz", {f"{channel}/{name}.npz": b"" for name in names for channel in ("talks", "news")})
    (partition,) = NpzReaderStage(f"{tmp_path}/npz").partitions()
    found = [key.removesuffix(".npz") for key in partition.inputs]
    expected = ["a_seg_1", "a_seg_2", "a_seg_10", "a-b_seg_0", "a2_seg_0", "a_seg_b", "a_x", "b_seg_3"]
    assert found == [f"{channel}/{name}" for channel in ("news", "talks") for name in expected]


@given(
    st.sets(st.tuples(st.sampled_from(["a", "a_seg_1", "b", "a-b"]), st.integers(0, 30)), min_size=1, max_size=20),
    st.integers(0, 40),
)
def test_recordings_stay_together_and_their_segments_in_order(names: set[tuple[str, int]], limit: int) -> None:
    root = f"memory://{uuid.uuid4().hex}"
    write(root, {f"news/{recording}_seg_{k}.npz": b"x" for recording, k in names})
    found = []
    for partition in NpzReaderStage(root, partition_size_mb=limit * BYTE).partitions():
        named = [key.removeprefix("news/").removesuffix(".npz").rpartition("_seg_") for key in partition.inputs]
        assert partition.end <= limit or len({recording for recording, _, _ in named}) == 1
        found.append([(recording, int(k)) for recording, _, k in named])
    of_recording = {recording: sorted(k for r, k in names if r == recording) for recording, _ in names}
    seen = [pair for of_partition in found for pair in of_partition]
    assert {r: [k for recording, k in seen if recording == r] for r in of_recording} == of_recording
    assert sum(len({recording for recording, _ in of}) for of in found) == len(of_recording)


def test_files_that_are_none_are_set_aside(root: str) -> None:
    good = npz()
    files = {f"news/a_seg_{k}.npz": data for k, data in enumerate([good, b"no npz", npz(audio=None), good[:-9], good])}
    write(root, files)
    reader = NpzReaderStage(root)
    assert [record["segment_id"] for record in records(reader)] == ["news/a_seg_0", "news/a_seg_4"]
    bad = reader.observed.quarantined
    assert [(q.source_path, q.offset, q.reason) for q in bad] == [
        (f"{root}/news/a_seg_1.npz", -1, "not_npz"),
        (f"{root}/news/a_seg_2.npz", -1, "pickled_audio"),
        (f"{root}/news/a_seg_3.npz", -1, "not_npz"),
    ]
    assert bad[0].record == {"file": "a_seg_1.npz"}


def test_samples_that_are_no_numbers_are_counted(root: str) -> None:
    write(root, {"news/a_seg_0.npz": npz(audio=[0.5, float("nan")]), "news/a_seg_1.npz": npz(audio=[float("inf")])})
    reader = NpzReaderStage(root)
    assert [record["segment_id"] for record in records(reader)] == ["news/a_seg_0"]
    assert reader.observed.metrics["bad_samples"] == 1
    assert [(q.source_path, q.reason) for q in reader.observed.quarantined] == [
        (f"{root}/news/a_seg_1.npz", "no_audio")
    ]


def test_a_file_that_has_gone_since_is_set_aside(root: str) -> None:
    write(root, {"news/a_seg_0.npz": npz(), "news/a_seg_1.npz": npz()})
    reader = NpzReaderStage(root)
    (partition,) = reader.partitions()
    Storage().delete([f"{root}/news/a_seg_0.npz"])
    assert [r["segment_id"] for batch in reader.process(partition) for r in batch.records] == ["news/a_seg_1"]
    assert [(q.reason, q.source_path) for q in reader.observed.quarantined] == [
        ("unreadable_file", f"{root}/news/a_seg_0.npz")
    ]


def test_a_store_that_fails_is_no_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(f"{tmp_path}/npz", {"news/a_seg_0.npz": npz()})
    reader = NpzReaderStage(f"{tmp_path}/npz")
    (partition,) = reader.partitions()

    def fails(path: str) -> bytes:
        raise StorageError("the connection was lost")

    monkeypatch.setattr(reader.storage, "read", fails)
    with pytest.raises(StorageError, match="the connection was lost"):
        list(reader.process(partition))


# Channels ----------------------------------------------------------------------------------------------------


def channels(root: str, **parameters: Any) -> list[tuple[str | None, str]]:
    return [(record["channel"], record["segment_id"]) for record in records(NpzReaderStage(root, **parameters))]


def test_channels_are_selected_and_renamed(tmp_path: Path) -> None:
    root = f"{tmp_path}/npz"
    write(root, {"Atheer_-/a_seg_0.npz": npz(), "Other/b_seg_0.npz": npz(), "c_seg_0.npz": npz()})
    assert channels(root) == [
        ("Atheer_-", "Atheer_-/a_seg_0"),
        ("Other", "Other/b_seg_0"),
        (None, "c_seg_0"),
    ]
    mapping = {"Atheer_-": "Atheer"}
    assert channels(root, channel_mapping=mapping)[0] == ("Atheer", "Atheer/a_seg_0")
    assert channels(root, channels=["Atheer"], channel_mapping=mapping) == [("Atheer", "Atheer/a_seg_0")]
    assert channels(root, channels=["Atheer_-"], channel_mapping=mapping) == [("Atheer", "Atheer/a_seg_0")]
    with pytest.raises(
        ConfigurationError, match=r"channels=\['none'\] has none of the folders below .*, which are .*Other; check"
    ):
        channels(root, channels=["none"])


def test_two_files_that_would_be_one_segment(tmp_path: Path) -> None:
    root = f"{tmp_path}/npz"
    write(root, {"Atheer_-/a_seg_0.npz": npz(), "Atheer/b_seg_0.npz": npz(), "old/Other/c_seg_0.npz": npz()})
    mapping = {"Atheer_-": "Atheer"}
    assert channels(root, channel_mapping=mapping) == [
        ("Atheer", "Atheer/b_seg_0"),
        ("Atheer", "Atheer/a_seg_0"),
        ("Other", "Other/c_seg_0"),
    ]
    write(root, {"Atheer/a_seg_0.npz": npz()})
    both = r"Atheer/a_seg_0\.npz and Atheer_-/a_seg_0\.npz would both be segment a_seg_0 of channel 'Atheer'"
    with pytest.raises(ConfigurationError, match=both):
        channels(root, channel_mapping=mapping)
    assert len(channels(root)) == 4
    Storage().delete([f"{root}/Atheer/a_seg_0.npz"])
    write(root, {"Atheer/a_seg_1.npz": npz()})
    with pytest.raises(ConfigurationError, match=r"would both be of the recording a of channel 'Atheer'"):
        channels(root, channel_mapping=mapping)
    assert len(channels(root)) == 4

    write(root, {"Other/c_seg_0.npz": npz()})
    with pytest.raises(
        ConfigurationError, match=r"Other/c_seg_0\.npz .*would both be segment c_seg_0 of channel 'Other'"
    ):
        channels(root)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sample_rate": 0}, "sample_rate is 0; give a whole number of Hz"),
        ({"sample_rate": 16000.0}, r"sample_rate is 16000\.0"),
        ({"sample_rate": True}, "sample_rate is True"),
        ({"channels": "news"}, "channels is 'news'; give a list of names"),
        ({"channel_mapping": {"a": "b/c"}}, "channel_mapping has 'b/c', which is no name of a folder"),
    ],
)
def test_bad_parameters(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        NpzReaderStage("npz", **parameters)


def test_the_rate_is_that_of_the_parameter(tmp_path: Path) -> None:
    write(f"{tmp_path}/npz", {"news/a_seg_0.npz": npz(1.0)})
    (record,) = records(NpzReaderStage(f"{tmp_path}/npz", sample_rate=RATE // 2))
    assert (record["sample_rate"], record["duration_sec"]) == (RATE // 2, 2.0)


def test_what_reads_sound_must_be_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(ConfigurationError, match=r"needs soundfile, .* pip install 'curator-audio\[audio\]'"):
        NpzReaderStage(str(tmp_path))
