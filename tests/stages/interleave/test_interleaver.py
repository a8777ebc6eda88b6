"""Segments become documents; what would break one is set aside."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator_audio.errors import ConfigurationError
from curator_audio.stages.base import QuarantinedRecord
from curator_audio.stages.interleave import InterleaverStage
from curator_audio.tasks import AudioBatch, Record


def segment(
    entry_id: str, begin: float | None, text: str = "so be it", audio: Any = "<|speech_1|>", **more: Any
) -> Record:
    return {
        "entry_id": entry_id,
        "original_path": "https://example.org/1.mp3",
        "speaker_id": "1472",
        "book_id": "1437",
        "transcript": text,
        "begin_time": begin,
        "end_time": begin + 1.5 if isinstance(begin, (int, float)) else 1.5,
        "audio_duration": 1.5,
        "audio_str": audio,
        **more,
    }


def interleaved(*segments: Record, **parameters: Any) -> tuple[list[Record], list[QuarantinedRecord]]:
    stage = InterleaverStage(**parameters)
    paths = [f"tree/1472/1437/{number}.json" for number in range(len(segments))]
    made = stage.process(AudioBatch(list(segments), "tree/1472/1437", paths=paths))
    return made.records, stage.observed.quarantined


def test_the_documents_of_a_recording() -> None:
    (document,), bad = interleaved(
        segment("1472_1437_2", 3.25, "be it", "<|speech_30|><|speech_4|>"),
        segment("1472_1437_1", 0.5, "So", "<|speech_7|>"),
    )
    assert document == {
        "original_path": "https://example.org/1.mp3",
        "text_first": "<|begin_of_text|>"
        "<|text_start|>So<|text_end|><|audio_start|><|speech_7|><|audio_end|>"
        "<|text_start|>be it<|text_end|><|audio_start|><|speech_30|><|speech_4|><|audio_end|>"
        "<|end_of_text|>",
        "audio_first": "<|begin_of_text|>"
        "<|audio_start|><|speech_7|><|audio_end|><|text_start|>So<|text_end|>"
        "<|audio_start|><|speech_30|><|speech_4|><|audio_end|><|text_start|>be it<|text_end|>"
        "<|end_of_text|>",
        "num_segments": 2,
        "speaker_id": "1472",
        "book_id": "1437",
    }
    assert bad == []


def test_segments_that_start_together_are_in_order_of_their_ids() -> None:
    (document,), _ = interleaved(segment("b", 1, "second"), segment("a", 1.0, "first"), segment("c", 0, "zeroth"))
    assert re.findall(r"<\|text_start\|>(\w+)", document["text_first"]) == ["zeroth", "first", "second"]


def texts_in_order(document: Record) -> list[str]:
    return re.findall(r"<\|text_start\|>(\w+)", document["text_first"])


def test_segments_without_times_are_in_order_of_the_numbers_of_their_ids() -> None:
    ids = ["a/show_seg_10", "a/show_seg_9", "a/show_seg_0"]
    untimed = [segment(entry_id, None, entry_id[-1]) | {"end_time": None} for entry_id in ids]
    timed = [segment("b_seg_0", 9.0, "late"), segment("b_seg_1", 0.5, "early")]
    other = [one | {"original_path": "b"} for one in timed]
    stage = InterleaverStage()
    first, second = stage.process(AudioBatch([*other, *untimed])).records
    assert (texts_in_order(first), texts_in_order(second)) == (["early", "late"], ["0", "9", "0"])
    assert first["original_path"] == "b" and second["num_segments"] == 3
    assert stage.observed.metrics["segments_ordered_by_number"] == 3 and not stage.observed.quarantined


def test_where_one_segment_has_no_time_the_numbers_tell_for_all() -> None:
    (document,), bad = interleaved(segment("a_seg_2", 0.0, "two"), segment("a_seg_1", None, "one"))
    assert (texts_in_order(document), bad) == (["one", "two"], [])


def test_a_segment_with_neither_time_nor_number_is_set_aside() -> None:
    untimed = segment("nameless", None)
    (document,), (aside,) = interleaved(segment("a_seg_1", 1.0, "one"), untimed, segment("a_seg_0", 0.5, "zero"))
    assert texts_in_order(document) == ["zero", "one"]
    assert (aside.reason, aside.record, aside.source_path) == ("missing_field", untimed, "tree/1472/1437/1.json")
    assert "has no 'begin_time', and the ids of the recording's segments do not all end in a number" in aside.message
    assert interleaved(untimed)[0] == [], "no document of nothing"


@given(st.permutations(range(12)))
def test_the_order_does_not_depend_on_that_of_the_files(numbers: list[int]) -> None:
    untimed = [segment(f"a_seg_{number}", None, f"t{number}") for number in numbers]
    (document,), _ = interleaved(*untimed)
    assert texts_in_order(document) == [f"t{number}" for number in range(12)]


def test_a_recording_of_one_segment() -> None:
    (document,), _ = interleaved(segment("a", 0.0, "So"))
    frame = "<|text_start|>So<|text_end|><|audio_start|><|speech_1|><|audio_end|>"
    assert document["text_first"] == f"<|begin_of_text|>{frame}<|end_of_text|>"
    assert document["num_segments"] == 1


@pytest.mark.parametrize(
    "text", ["", "  two  spaces ", "naïve – «quotes» 日本語", "שלום עולם", "a\nb", "🎙️", "<|", "text_end"]
)
def test_texts_stand_as_they_are(text: str) -> None:
    (document,), bad = interleaved(segment("a", 0.0, text))
    assert f"<|text_start|>{text}<|text_end|>" in document["text_first"] and bad == []


def test_recordings_are_in_order_of_their_paths_and_speakers_are_kept_apart() -> None:
    documents, _ = interleaved(
        segment("a", 0.0, "B", original_path="b.mp3"),
        segment("b", 0.0, "A of 7", original_path="a.mp3", speaker_id=7),
        segment("c", 0.0, "A of 1472", original_path="a.mp3"),
        segment("d", 0.0, "another book", original_path="a.mp3", book_id="2"),
    )
    assert [(d["original_path"], d["speaker_id"], d["book_id"], d["num_segments"]) for d in documents] == [
        ("a.mp3", "1472", "1437", 1),
        ("a.mp3", "1472", "2", 1),
        ("a.mp3", "7", "1437", 1),
        ("b.mp3", "1472", "1437", 1),
    ]


def test_codes_become_text() -> None:
    (document,), _ = interleaved(segment("a", 0.0, "So", [7, 65535]), code_template="[{code}]")
    assert document["text_first"].endswith("<|audio_start|>[7][65535]<|audio_end|><|end_of_text|>")


def test_fields_and_tokens_of_ones_own() -> None:
    segments = [{"id": n, "show": "news", "words": f"w{n}", "codes": [n], "at": 9 - n} for n in (1, 2)]
    names = {"id_field": "id", "recording_field": "show", "text_field": "words", "audio_field": "codes"}
    names |= {"begin_field": "at", "end_field": None, "duration_field": None, "speaker_field": None, "book_field": None}
    tokens = {"document_begin": "", "document_end": "", "text_start": "", "text_end": "\n"}
    (document,), _ = interleaved(*segments, **names, **tokens, audio_start="<", audio_end=">", code_template="{code}")
    assert document == {
        "original_path": "news",
        "text_first": "w2\n<2>w1\n<1>",
        "audio_first": "<2>w2\n<1>w1\n",
        "num_segments": 2,
        "speaker_id": None,
        "book_id": None,
    }


def without(name: str) -> Record:
    return {key: value for key, value in segment("bad", 1.0).items() if key != name}


@pytest.mark.parametrize(
    ("bad", "reason", "message"),
    [
        *((without(name), "missing_field", f"the record has no '{name}'") for name in segment("", 0.0)),
        (segment("bad", 0.0, transcript=None), "missing_field", "the record has no 'transcript'"),
        (segment("bad", float("nan")), "invalid_time", "begin_time is nan; give a number of seconds"),
        (segment("bad", 0.0, end_time=float("inf")), "invalid_time", "end_time is inf; give a number of seconds"),
        (segment("bad", 0.0, audio_duration="2"), "invalid_time", "audio_duration is '2'; give a number of seconds"),
        (segment("bad", 0.0, begin_time=True), "invalid_time", "begin_time is True; give a number of seconds"),
        (segment("", 0.0), "wrong_type", "entry_id is ''; give a string that is not empty"),
        (segment("bad", 0.0, original_path=["a"]), "wrong_type", r"original_path is \['a'\]; give a string"),
        (segment("bad", 0.0, text=7), "wrong_type", "transcript is 7; give a string"),
        (segment("bad", 0.0, begin_time=10**400), "invalid_time", "begin_time is 10000"),
        (segment("bad", 0.0, audio_duration=1.7e308), "invalid_time", "audio_duration is 1.7e"),
        (segment("bad", 0.0, audio=""), "no_audio", "audio_str is empty; encode the segment first"),
        (segment("bad", 0.0, audio=[]), "no_audio", "audio_str is empty; encode the segment first"),
        (segment("bad", 0.0, audio=[1.0]), "wrong_type", "audio_str holds more than codes; give whole numbers"),
        (
            segment("bad", 0.0, audio=[-1]),
            "wrong_type",
            "audio_str holds more than codes; give whole numbers from 0 on",
        ),
        (segment("bad", 0.0, audio=["7"]), "wrong_type", "audio_str holds more than codes; give whole numbers"),
        (segment("bad", 0.0, audio=[True]), "wrong_type", "audio_str holds more than codes; give whole numbers"),
        (segment("bad", 0.0, audio=[[]]), "wrong_type", "audio_str holds more than codes; give whole numbers"),
        (segment("bad", 0.0, audio=7), "wrong_type", "audio_str is 7; give a string"),
        (
            segment("bad", 0.0, "it <|audio_end|> says"),
            "contains_token",
            r"transcript contains <\|audio_end\|>, which frames documents; take it out",
        ),
        (
            segment("bad", 0.0, audio="<|speech_1|><|text_start|>"),
            "contains_token",
            r"audio_str contains <\|text_start",
        ),
        (segment("good", 1.0), "duplicate_id", "entry_id is 'good', and that of another in tree/1472/1437/0.json"),
    ],
)
def test_a_bad_segment_is_set_aside_with_its_file_and_the_others_stay(bad: Record, reason: str, message: str) -> None:
    (document,), (aside,) = interleaved(segment("good", 0.0), bad, segment("other", 2.0))
    assert document["num_segments"] == 2
    assert (aside.source_path, aside.stage, aside.reason) == ("tree/1472/1437/1.json", "interleaver", reason)
    assert re.match(message, aside.message)
    assert aside.record is bad


def test_half_of_a_surrogate_pair_costs_a_character_and_not_the_segment() -> None:
    stage = InterleaverStage()
    halves = {"original_path": "caf\udce9.mp3", "speaker_id": "\ud83d\ude00"}
    (document,) = stage.process(AudioBatch([segment("a\ud800", 0.0, "half \ud83c", **halves)])).records
    assert (document["original_path"], document["speaker_id"]) == ("caf\ufffd.mp3", "😀")
    assert "<|text_start|>half \ufffd<|text_end|>" in document["text_first"]
    assert (stage.observed.metrics["texts_repaired"], stage.observed.quarantined) == (4, [])


def test_what_codes_are_does_not_depend_on_those_met_before() -> None:
    stage = InterleaverStage()
    assert stage.process(AudioBatch([segment("a", 0.0, audio=[1])])).records
    assert stage.process(AudioBatch([segment("b", 0.0, audio=[1.0])])).records == []
    assert stage.process(AudioBatch([segment("c", 0.0, audio=[True])])).records == []


def test_a_recording_without_a_good_segment_makes_no_document() -> None:
    documents, bad = interleaved(segment("a", 0.0, transcript=None))
    assert documents == [] and len(bad) == 1


def test_tokens_in_texts_can_be_escaped() -> None:
    (document,), bad = interleaved(segment("a", 0.0, "it <|audio_end|> says"), on_token="escape")
    assert "<|text_start|>it <\\|audio_end|> says<|text_end|>" in document["text_first"] and bad == []


def test_what_is_counted() -> None:
    stage = InterleaverStage()
    stage.process(AudioBatch([segment("a", 0.0), segment("b", 1.0), segment("c", 1.0, original_path="b"), {}]))
    assert stage.observed.metrics == {"segments": 3, "audio_duration": 4.5}


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["", "a", "b<|", "ש"]), st.integers(0, 9)), min_size=1, max_size=20
    ),
    st.randoms(use_true_random=False),
)
def test_a_document_can_be_taken_apart_and_does_not_depend_on_the_order(
    given_segments: list[tuple[int, str, int]], random: Any
) -> None:
    segments = [
        segment(f"{number:02d}", begin, text, f"<|speech_{code}|>")
        for number, (begin, text, code) in enumerate(given_segments)
    ]
    expected = [
        (s["transcript"], s["audio_str"]) for s in sorted(segments, key=lambda s: (s["begin_time"], s["entry_id"]))
    ]
    random.shuffle(segments)
    (document,), _ = interleaved(*segments)
    text_audio = r"<\|text_start\|>(.*?)<\|text_end\|><\|audio_start\|>(.*?)<\|audio_end\|>"
    audio_text = r"<\|audio_start\|>(.*?)<\|audio_end\|><\|text_start\|>(.*?)<\|text_end\|>"
    assert re.findall(text_audio, document["text_first"]) == expected
    assert [(text, audio) for audio, text in re.findall(audio_text, document["audio_first"])] == expected


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"text_field": ""}, "text_field is ''; give the name of a field"),
        ({"text_field": None}, "text_field is None; give the name of a field$"),
        ({"end_field": 7}, "end_field is 7; give the name of a field, or null"),
        ({"text_start": None}, "text_start is None; give a token, or '' for none"),
        ({"code_template": "<code>"}, "code_template is '<code>'; give a text with {code} in it, once"),
        ({"on_token": "drop"}, "on_token is 'drop'; give one of quarantine, escape"),
    ],
)
def test_parameters_out_of_range(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        InterleaverStage(**parameters)
