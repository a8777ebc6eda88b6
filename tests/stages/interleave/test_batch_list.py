"""Lists of folders, as people write them."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from curator_audio.errors import RecordError
from curator_audio.stages.interleave.batch_list import folders_of, line_of, lines_of


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"\n\r\n  \n", []),
        (b"1-2", [(0, b"1-2")]),
        (b"1-2\n3-4\n", [(0, b"1-2"), (4, b"3-4")]),
        (b"1-2\r\n\r\n3-4\r\n", [(0, b"1-2"), (7, b"3-4")]),
        (b"\xef\xbb\xbf1-2\n", [(0, b"1-2")]),
        (b"  1-2\t\n", [(0, b"1-2")]),
    ],
)
def test_lines(data: bytes, lines: list[tuple[int, bytes]]) -> None:
    assert list(lines_of(data)) == lines


@pytest.mark.parametrize(
    ("line", "folders"),
    [
        ("1472-1437", ["1472/1437"]),
        ("a-b-c", ["a/b-c", "a-b/c"]),
        ("naïve-שלום", ["naïve/שלום"]),
        ("a-", None),
        ("-b", None),
        ("a", None),
        ("-a-b", ["-a/b"]),
    ],
)
def test_folders_of_a_line(line: str, folders: list[str] | None) -> None:
    if folders is not None:
        assert folders_of(line.encode()) == folders
        return
    with pytest.raises(RecordError, match="invalid_line"):
        folders_of(line.encode())


@pytest.mark.parametrize(
    "line", ["..-..", "a-..", "..-a", "../../etc-passwd", "a/b-c", "/etc-a", ".-a", "a\\..-b", "a-b-..", "a\0-b"]
)
def test_no_line_leads_out_of_the_root(line: str) -> None:
    with pytest.raises(RecordError) as caught:
        folders_of(line.encode())
    assert caught.value.reason == "path_leaves_root"


def test_a_line_that_is_no_text() -> None:
    with pytest.raises(RecordError, match="invalid_utf8: the line is not UTF-8; save the list as UTF-8"):
        folders_of(b"\xff-1")


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)


@given(NAMES, NAMES)
def test_a_line_names_its_folder(speaker: str, book: str) -> None:
    assume("/" not in speaker + book)  # which no name of a folder has
    try:
        line = line_of(speaker, book)
    except RecordError as error:
        assert error.reason in ("invalid_name", "path_leaves_root")
        return
    ((_, content),) = lines_of(line.encode() + b"\r\n")
    assert f"{speaker}/{book}" in folders_of(content)


@pytest.mark.parametrize(("speaker", "book"), [("a\n", "b"), (" a", "b"), ("a", "b "), ("a", "\udcff"), ("..", "b")])
def test_what_cannot_stand_in_a_line(speaker: str, book: str) -> None:
    with pytest.raises(RecordError):
        line_of(speaker, book)
