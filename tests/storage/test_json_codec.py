"""The line codec: nothing is lost between a line and the line written from it, and that line is valid JSON."""

from __future__ import annotations

import copy
import json
import math
import pickle
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_audio.errors import RecordError
from curator_audio.storage import json_codec
from curator_audio.storage.json_codec import VerbatimFloat, decode_line, encode_record, encode_value
from curator_audio.storage.valid_text import Repairs


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"b":[true,false,null],"":{}}',
        '"na\u00efve \u2028 \ufeff \U0001f600 \\u0000\\n\\" \u007f"',
        "18446744073709551616",
        "-9223372036854775809",
        "123456789012345678901234567890",
        '["12345678901234567890",12345678901234567890123]',
        "0.1000000000000000055511151231257827",
        "12345678.12345678901",
        "9.0072547409927351",
        "1234567890123456.7",
        '{"t":[1.5,-0.12345678901234567890e-3]}',
        "1e-400",
        "-2.5E-0333",
        '{"é":1,"x":12345678901234567890123}',
        "-0.0",
        "1" * 300,
        "[" * 1000 + "]" * 1000,
        '{"a":' * 400 + "1" + "}" * 400,
    ],
)
def test_a_line_is_written_as_it_was_read(text: str) -> None:
    assert encode_value(decode_line(text.encode())) == text.encode()


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("4.20", "4.2"),
        ("1E5", "100000.0"),
        ("1.50000000000000000000", "1.5"),
        ('"\\u00e9\\ud83d\\ude00\\/"', '"é😀/"'),
        ('{"a": 1, "b": 2, "a": 3}', '{"a":3,"b":2}'),
        (" [1 , 2]\r\n", "[1,2]"),
        ("\ufeff1", "1"),
    ],
)
def test_only_the_spelling_may_change(text: str, written: str) -> None:
    assert encode_value(decode_line(text.encode())) == written.encode()


def test_a_number_of_many_digits_computes_as_the_nearest_double() -> None:
    number = decode_line(b"0.1000000000000000055511151231257827")
    assert number == 0.1
    assert type(number + 1) is float
    for twin in (pickle.loads(pickle.dumps(number)), copy.deepcopy(number)):
        assert isinstance(twin, VerbatimFloat)
        assert twin.text == number.text


def test_numbers_that_doubles_hold_stay_plain_floats() -> None:
    for text in ("0.7999999999999999", "0.30000000000000004", "1.7976931348623157e308", "5e-324", "1e-300"):
        assert type(decode_line(text.encode())) is float


@pytest.mark.parametrize(
    ("line", "written", "num_texts", "num_numbers"),
    [
        ("[NaN,Infinity,-Infinity,1.5]", "[null,null,null,1.5]", 0, 3),
        ('{"a":[{"b":NaN}],"c":12345678901234567890123}', '{"a":[{"b":null}],"c":12345678901234567890123}', 0, 1),
        ("[1e400,-1e400,1e308]", "[null,null,1e+308]", 0, 2),
        ("1" * 5000, "null", 0, 1),
        (str(2**1024 - 2**970), "null", 0, 1),
        (str(int(1.7976931348623157e308)), str(int(1.7976931348623157e308)), 0, 0),
        ('"\\ud800 and \\udfff"', '"\ufffd and \ufffd"', 1, 0),
        ('["\\ud83d\\ude00","\\ude00\\ud83d"]', '["😀","\ufffd\ufffd"]', 1, 0),
        ('{"\\udc00":1,"x":NaN}', '{"\ufffd":1,"x":null}', 1, 1),
        ('{"\ufffd":0,"\\udc00":1,"\\udc01":2}', '{"\ufffd":0,"\ufffd\ufffd":1,"\ufffd\ufffd\ufffd":2}', 2, 0),
        ('"\\u0000 is a character like others"', '"\\u0000 is a character like others"', 0, 0),
    ],
)
def test_what_is_no_text_or_no_number_is_replaced_and_counted(
    line: str, written: str, num_texts: int, num_numbers: int
) -> None:
    repairs = Repairs()
    data = encode_value(decode_line(line.encode()), repairs)
    assert data == written.encode()
    assert repairs == Repairs(num_texts, num_numbers)
    assert json_codec._encode_slowly(decode_line(line.encode()), Repairs()) == data


def test_a_computed_infinity_is_null_with_every_encoder() -> None:
    assert encode_record({"a": math.inf, "b": "\ud800"}) == '{"a":null,"b":"\ufffd"}'.encode()
    assert encode_record({"a": math.inf}) == b'{"a":null}'


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'"caf\xe9"', "invalid_utf8"),
        (b'"\xed\xa0\x80"', "invalid_utf8"),
        (b'{"a": 1', "invalid_json"),
        (b"{'a': 1}", "invalid_json"),
        (b'{"a": 01}', "invalid_json"),
        (b"", "invalid_json"),
        (b'{"a": 1} {"a": 2}', "invalid_json"),
        (b"[" * 100_000 + b"]" * 100_000, "invalid_json"),
        (b'{"a":' * 100_000, "invalid_json"),
    ],
)
def test_what_is_no_json_is_refused(line: bytes, reason: str) -> None:
    with pytest.raises(RecordError) as caught:
        decode_line(line)
    assert caught.value.reason == reason
    assert len(caught.value.message) < 200


def test_the_byte_that_is_no_utf8_is_named() -> None:
    with pytest.raises(RecordError, match=r"byte 4 of the line \(0xe9\) is not UTF-8"):
        decode_line(b'"caf\xe9"')


@pytest.mark.parametrize(
    "value", [{1, 2}, b"bytes", datetime(2024, 1, 1), object(), {1: "number as key"}, {None: 1}, [1, {"a": {2, 3}}]]
)
def test_what_has_no_json_form_is_refused(value: Any) -> None:
    with pytest.raises(RecordError) as caught:
        encode_record({"a": value})
    assert caught.value.reason == "not_serializable"


def test_a_value_within_itself_is_refused() -> None:
    loop: list[Any] = [1]
    loop.append({"again": loop})
    with pytest.raises(RecordError, match="contains itself"):
        encode_record({"a": loop})


def test_deep_nesting_is_written() -> None:
    value: Any = []
    for _ in range(50_000):
        value = [value]
    assert encode_value(value) == b"[" * 50_001 + b"]" * 50_001


def test_shared_objects_are_written_wherever_they_are() -> None:
    shared = {"start": 0.5}
    record = {"windows": [{"segments": [shared, shared]}, {"segments": [shared]}], "first": shared}
    assert json.loads(encode_record(record)) == record


# ---- any value at all

surrogates = st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF, categories=["Cs"])
text_values = st.text()
odd_texts = st.text(st.one_of(st.characters(), surrogates))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text_values,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text_values, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None)
@given(json_values)
def test_any_value_survives(value: Any) -> None:
    data = encode_value(value)
    assert same(decode_line(data), value)
    assert same(json.loads(data), value)
    assert b"\n" not in data


@settings(max_examples=100, deadline=None)
@given(json_values)
def test_the_encoder_for_odd_values_writes_the_same_bytes(value: Any) -> None:
    assert json_codec._encode_slowly(value, Repairs()) == encode_value(value)


def strictly(data: bytes) -> Any:
    """What a reader makes of the line that takes JSON and nothing else."""
    import orjson

    assert orjson.loads(data) == json.loads(data, parse_constant=pytest.fail)
    return json.loads(data)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(odd_texts, st.lists(odd_texts | st.floats(), max_size=3), max_size=3))
def test_any_line_is_written_as_valid_json(record: dict[str, Any]) -> None:
    line = json.dumps(record).encode()
    repairs = Repairs()
    written = strictly(encode_record(decode_line(line), repairs))
    read = json.loads(line)
    assert [len(items) for items in written.values()] == [len(items) for items in read.values()]
    numbers = [item for items in read.values() for item in items if isinstance(item, float)]
    assert repairs.num_numbers == len([number for number in numbers if not math.isfinite(number)])


@settings(max_examples=300, deadline=None)
@given(json_values, st.booleans(), st.sampled_from([None, (",", ":"), (" , ", "\t: ")]))
def test_any_spelling_reads_as_the_slow_way_reads_it(value: Any, is_ascii: bool, separators: Any) -> None:
    line = json.dumps([value, 0.1 + 0.2], ensure_ascii=is_ascii, separators=separators).encode(errors="replace")
    assert same(decode_line(line), json_codec._decode_slowly(line))


@settings(max_examples=300, deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False), st.sampled_from(["%s", '{"a":[%s,1.5]}', "[-1, %s]"]))
def test_any_decimal_keeps_its_value(number: Any, template: str) -> None:
    import decimal

    def flat(text: str) -> list[Any]:
        value = json.loads(text, parse_float=decimal.Decimal, parse_int=decimal.Decimal)
        return value if isinstance(value, list) else value["a"] if isinstance(value, dict) else [value]

    text = template % str(number).lstrip("+")
    written = encode_value(decode_line(text.encode())).decode()
    assert flat(written) == flat(text)


@pytest.mark.parametrize("number", ["0.12345678901234567", "0.1234567890123456789012345"])
def test_numbers_in_nests_and_beside_escapes_keep_their_digits(number: str) -> None:
    for before, after in (("[" * 500, "]" * 500), ('{"a\\"b\\\\": "1\\u0627\\u06441", "c": ', "}"), ("[ -1.5,", " ]")):
        line = f"{before}{number}{after}".encode()
        assert json.loads(encode_value(decode_line(line)), parse_float=str) == json.loads(line, parse_float=str)


@pytest.mark.parametrize("text", ["ip 192.168.100.100.192.168.100.100", "v 2024.01.01.12.30.45.123456", " 1.2.3e-100"])
def test_digits_in_strings_are_no_numbers(text: str) -> None:
    assert decode_line(json.dumps({"text": text}).encode()) == {"text": text}


def same(left: Any, right: Any) -> bool:
    """Equal, with the types and the signs of zeros equal, too."""
    return type(left) is type(right) and repr(left) == repr(right)
