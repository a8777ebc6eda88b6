from __future__ import annotations

import json

import pyarrow as pa

from curator_audio.stages.speech.schema import segment_schema, window_schema, with_features
from curator_audio.stages.speech.segments import SEGMENT_FIELDS
from curator_audio.stages.speech.windows import WINDOW_FIELDS


def features(schema: pa.Schema) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    return found


def test_the_columns_of_a_segment() -> None:
    schema = segment_schema()
    text, number = pa.string(), pa.float64()
    assert dict(zip(schema.names, schema.types)) == {
        "segment_id": text,
        "audio_id": text,
        "text": text,
        "speaker_id": text,
        "gender": text,
        "dialect": text,
        "tone": text,
        "language": text,
        "channel": text,
        "start": number,
        "end": number,
        "duration_sec": number,
        "sample_rate": pa.int32(),
        "audio": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
        "codes": pa.list_(pa.int32()),
    }
    assert tuple(schema.names) == SEGMENT_FIELDS


def test_the_features_that_datasets_reads() -> None:
    """Its own words for the types: https://huggingface.co/docs/datasets/about_dataset_features"""
    found = features(segment_schema())
    assert list(found) == list(SEGMENT_FIELDS)
    assert found["audio"] == {"_type": "Audio"}
    assert found["codes"] == {"feature": {"dtype": "int32", "_type": "Value"}, "_type": "List"}
    assert found["text"] == {"dtype": "string", "_type": "Value"}
    assert found["duration_sec"] == {"dtype": "float64", "_type": "Value"}
    assert found["sample_rate"] == {"dtype": "int32", "_type": "Value"}


def test_the_columns_of_a_window() -> None:
    schema = window_schema()
    assert tuple(schema.names) == WINDOW_FIELDS
    text, number = pa.string(), pa.float64()
    segment = pa.struct({"start": number, "end": number, "speaker": text, "text": text})
    assert schema.field("segments").type == pa.list_(segment)
    assert schema.field("speakers").type == pa.list_(text)
    shared = [name for name in WINDOW_FIELDS if name in SEGMENT_FIELDS]
    assert [schema.field(name) for name in shared] == [segment_schema().field(name) for name in shared]
    kinds = {"start": "float64", "end": "float64", "speaker": "string", "text": "string"}
    values = {name: {"dtype": kind, "_type": "Value"} for name, kind in kinds.items()}
    assert features(schema)["segments"] == {"feature": values, "_type": "List"}
    assert features(schema)["audio"] == {"_type": "Audio"}


def test_chosen_columns_in_their_order() -> None:
    schema = segment_schema(("codes", "text"))
    assert schema.names == ["codes", "text"]
    assert list(features(schema)) == ["codes", "text"]


def test_features_of_other_columns() -> None:
    schema = pa.schema({"score": pa.float32(), "words": pa.list_(pa.string()), "turns": pa.list_(pa.list_(pa.int64()))})
    assert features(with_features(schema)) == {
        "score": {"dtype": "float32", "_type": "Value"},
        "words": {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"},
        "turns": {"feature": {"feature": {"dtype": "int64", "_type": "Value"}, "_type": "List"}, "_type": "List"},
    }
