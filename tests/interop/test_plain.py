"""Values of other libraries, made plain."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_audio.errors import ConfigurationError, RecordError
from curator_audio.interop.nemo_curator.plain import Plain, check_fits, check_types, copied
from curator_audio.storage.json_codec import decode_line, encode_record

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


class Colour(Enum):
    RED = "red"


class Word(str):
    pass


@settings(max_examples=20)
@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=4))
def test_what_is_plain_stays_as_it_is(record):
    plain = Plain()

    assert plain.record(record) == record == copied(record)
    assert not plain.left_out


def test_what_is_of_numpy_becomes_pythons():
    values = {"a": np.float32(0.5), "b": [np.int16(3), (np.bool_(True),)], 4: {"c": np.longdouble(2)}, "d": np.array(7)}

    found = Plain().record(values)

    assert found == {"a": 0.5, "b": [3, [True]], "4": {"c": 2.0}, "d": 7}
    assert encode_record(found) == b'{"a":0.5,"b":[3,[true]],"4":{"c":2.0},"d":7}'
    assert [type(found["a"]), type(found["b"][0]), type(found["b"][1][0]), type(found["4"]["c"])] == [
        float,
        int,
        bool,
        float,
    ]


def test_a_number_that_no_double_holds_stays_as_it_was_written():
    line = b'{"id":0.12345678901234567890123,"n":1}'

    assert encode_record(Plain().record(copied(decode_line(line)))) == line


def test_other_objects_of_python_become_what_they_hold():
    values = {"a": Colour.RED, "b": Path("x/y"), "c": Word("so"), "d": {2, 1}, "e": bytearray(b"z")}

    found = Plain().record(values)

    assert found == {"a": "red", "b": "x/y", "c": "so", "d": [1, 2], "e": b"z"}
    assert type(found["c"]) is str


def test_arrays_are_kept_where_a_list_is_declared_and_else_left_out_and_counted():
    values = {
        "scores": np.ones(2),
        "vectors": [np.ones(1), np.zeros(2)],
        "mel": np.zeros((2, 2)),
        "segments": [{"start": 0.5, "waveform": np.zeros(9)}] * 2,
        "mixed": [1, object()],
    }
    plain = Plain({"scores": "list<float>", "vectors": "list<list<float>>", "segments": "list<object>"})

    found = plain.record(values)

    assert found == {"scores": [1.0, 1.0], "vectors": [[1.0], [0.0, 0.0]], "segments": [{"start": 0.5}] * 2}
    assert plain.left_out == {"mel": 1, "segments": 2, "mixed": 1}


def test_a_temporary_path_is_replaced_wherever_it_stands():
    plain = Plain(names={"/tmp/x/a.wav": "a.flac", "/tmp/x/": ""})

    found = plain.record({"a": "/tmp/x/a.wav", "b": [{"c": "see /tmp/x/b.wav"}]})

    assert found == {"a": "a.flac", "b": [{"c": "see b.wav"}]}


def test_a_value_of_another_type_than_declared_is_told():
    check_fits("wer", 1, "float")
    check_fits("vectors", [[1.5], None], "list<list<float>>")

    for kind, value in (("float", "1"), ("float", True), ("int", 1.5), ("list<int>", ["a"]), ("bool", 1)):
        with pytest.raises(RecordError, match=r"wrong_type: field is .*, which is no .*, as 'adds' says"):
            check_fits("field", value, kind)


@pytest.mark.parametrize("adds", [["wer"], {"wer": "double"}, {"wer": None}, {"": "int"}, {"wer": "list<float"}])
def test_types_that_there_are_not_are_refused(adds):
    with pytest.raises(ConfigurationError, match="adds"):
        check_types("adds", adds)
