"""Manifests that are one JSON document, or something else than lines of text, and not a record a line."""

from __future__ import annotations

import codecs
import json

_CUT_PIECE = 10
"""How many characters a number, a word or an escape may have that the end of a sample cuts in two."""


def kind_of_document(start: bytes, is_whole: bool) -> str:
    """What a file is that is one JSON document: a ``list`` or an ``object``; empty where it may have a record a line.

    A line that is broken makes no document: what follows it does not go on where it ends.

    Args:
        start: the first bytes of the file.
        is_whole: whether they are all of it.

    Example:
        >>> kind_of_document(b'[{"text": "a"}, {"text": "b"}]', is_whole=True)
        'list'
        >>> kind_of_document(b'{"text": "a"}\\n{"text": "b"}', is_whole=True)
        ''
    """
    text = start.decode(errors="replace").removeprefix("\ufeff").lstrip()
    kind = {"[": "list", "{": "object"}.get(text[:1], "")
    if not kind:
        return ""
    first_line = text.partition("\n")[0]
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except json.JSONDecodeError as error:
        is_cut = not is_whole and (error.pos >= len(text) - _CUT_PIECE or error.msg.startswith("Unterminated string"))
        has_short_lines = text.count("\n") > 2 or first_line.strip() in ("[", "{", "[{")
        return kind if is_cut and (has_short_lines or _begins_a_list_of_objects(text)) else ""
    except RecursionError:
        return ""
    if end > len(first_line):
        return kind
    return kind if is_whole and not text[end:].strip() and _begins_a_list_of_objects(text) else ""


def _begins_a_list_of_objects(text: str) -> bool:
    return text.startswith("[") and text[1:].lstrip().startswith("{")


def advice(path: str, kind: str, codec: str | None) -> str:
    """What is wrong with a manifest that is one document, and the command that makes one of it.

    Example:
        >>> advice("in.json", "list", None)
        "in.json is one JSON list, and a manifest has one record a line; write jq -c '.[]' in.json > manifest.jsonl"
    """
    unpack = {"gzip": "gunzip -c ", "zstd": "zstd -dc "}.get(codec or "")
    reads = f"{unpack}{path} | jq -c %s" if unpack else f"jq -c %s {path}"
    if kind == "list":
        what, command = "list", reads % "'.[]'"
    else:
        what, command = "object over several lines", reads % "."
        what += ", or several of them"
    return f"{path} is one JSON {what}, and a manifest has one record a line; write {command} > manifest.jsonl"


def why_not_text(path: str, start: bytes) -> str:
    """What is wrong with a manifest of which no line is a record, where zero bytes show that it is no text in UTF-8.

    Args:
        path: of the manifest.
        start: its first bytes, uncompressed.

    Example:
        >>> why_not_text("in.jsonl", '{"text": "a"}'.encode("utf-16"))
        'in.jsonl is text in UTF-16; write iconv -f UTF-16 -t UTF-8 in.jsonl > manifest.jsonl'
        >>> why_not_text("in.jsonl", b'"text"')
        ''
    """
    if b"\0" not in start:
        return ""
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return f"{path} is text in UTF-16; write iconv -f UTF-16 -t UTF-8 {path} > manifest.jsonl"
    return f"{path} is not a manifest, but binary data; give a text file with one JSON object a line"
