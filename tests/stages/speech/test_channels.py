from __future__ import annotations

from typing import Any

import pytest

from curator_audio.errors import ConfigurationError
from curator_audio.stages.speech import SelectChannelsStage
from curator_audio.stages.speech.channels import Channels
from curator_audio.tasks import AudioBatch


@pytest.mark.parametrize(
    ("selected", "mapping", "expected"),
    [
        (None, {}, {"news": "news", "Atheer_-": "Atheer_-", "": ""}),
        (["news"], {}, {"news": "news", "Atheer_-": None, "": None}),
        ([], {}, {"news": None, "Atheer_-": None, "": None}),
        (None, {"Atheer_-": "Atheer"}, {"news": "news", "Atheer_-": "Atheer", "": ""}),
        (["Atheer"], {"Atheer_-": "Atheer"}, {"news": None, "Atheer_-": "Atheer", "": None}),
        (["Atheer_-"], {"Atheer_-": "Atheer"}, {"news": None, "Atheer_-": "Atheer", "": None}),
        (["both"], {"news": "both", "Atheer_-": "both"}, {"news": "both", "Atheer_-": "both", "": None}),
        (None, {"": "unknown"}, {"news": "news", "": "unknown"}),
    ],
)
def test_channels_are_selected_by_old_and_new_names(
    selected: list[str] | None, mapping: dict[str, str], expected: dict[str, str | None]
) -> None:
    channels = Channels(selected, mapping)
    assert {name: channels.name_of(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("selected", "mapping", "message"),
    [
        ("news", {}, "channels is 'news'; give a list of names"),
        ("[أخبار]", {}, r"channels is '\[أخبار\]'; give a list .* as JSON: 'channels=\[\"أخبار\"\]'"),
        ([1], {}, r"channels is \[1\]; give a list of names"),
        (None, ["a"], r"channel_mapping is \['a'\]; give new names by old ones"),
        (None, {"a": None}, "channel_mapping is {'a': None}; give new names by old ones"),
        (None, {"a": ""}, "channel_mapping is {'a': ''}; give new names by old ones"),
        (None, {"a": "b/c"}, "channel_mapping has 'b/c', which is no name of a folder"),
        (None, {"a": ".."}, r"channel_mapping has '\.\.', which is no name of a folder"),
    ],
)
def test_bad_choices(selected: Any, mapping: Any, message: str) -> None:
    for kind in (Channels, SelectChannelsStage):
        with pytest.raises(ConfigurationError, match=message):
            kind(selected, mapping)


def test_segments_of_other_channels_are_dropped() -> None:
    stage = SelectChannelsStage(["Atheer", "news"], {"Atheer_-": "Atheer"})
    records = [{"channel": name, "text": "a"} for name in ("Atheer_-", "Other", None, "news")]
    batch = stage.process(AudioBatch(records, "x", [0, 1, 2, 3]))
    assert (batch.records, batch.offsets) == (
        [{"channel": "Atheer", "text": "a"}, {"channel": "news", "text": "a"}],
        [0, 3],
    )
    assert batch.records[1] is records[3] and records[0]["channel"] == "Atheer_-"
    assert stage.observed.metrics == {"other_channels": 2}


def test_a_channel_of_an_odd_type_is_set_aside() -> None:
    stage = SelectChannelsStage(["news"])
    batch = stage.process(AudioBatch([{"channel": ["news"]}, {"text": "a"}, {"channel": "news"}]))
    assert batch.records == [{"channel": "news"}]
    assert [aside.reason for aside in stage.observed.quarantined] == ["TypeError", "missing_field"]


def test_what_is_named_within_a_channel_keeps_it_where_that_is_renamed() -> None:
    stage = SelectChannelsStage(channel_mapping={"old": "new"})
    old = {"segment_id": "ep1_seg_0", "audio_id": "ep1", "speaker_id": "ep1/SPEAKER_00"}
    kept = {"segment_id": "old/ep1_seg_0", "audio_id": "old/ep1", "speaker_id": "old/ep1/SPEAKER_00", "channel": "new"}
    (record,) = stage.process(AudioBatch([{**old, "channel": "old"}])).records
    assert record == kept
    (again,) = stage.process(AudioBatch([{**kept, "audio_id": "ep1", "channel": "old"}])).records
    assert again == kept, "once"
    odd = {"segment_id": None, "audio_id": 7, "speaker_id": ["a"], "channel": "old"}
    assert stage.process(AudioBatch([odd])).records == [{**odd, "channel": "new"}]
