from __future__ import annotations

import json

import pyarrow as pa

from curator_audio.stages.speech.schema import segment_schema, with_features
from curator_audio.stages.speech.segments import SEGMENT_FIELDS


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
