"""What frames documents, and finding it in texts."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from curator_audio.stages.interleave.tokens import Tokens, TokenSearch

USUAL = "<|speech_0123456789|>"
TOKENS = Tokens("<b>", "<e>", "<t>", "</t>", "<a>", "</a>")


def test_documents() -> None:
    segments = [("so", "12"), ("be it", "3")]
    assert TOKENS.text_first(segments) == "<b><t>so</t><a>12</a><t>be it</t><a>3</a><e>"
    assert TOKENS.audio_first(segments) == "<b><a>12</a><t>so</t><a>3</a><t>be it</t><e>"


@given(st.lists(st.tuples(st.text("ab<", max_size=5), st.text("12", max_size=5)), min_size=1, max_size=6))
def test_a_document_is_its_frames_one_after_the_other(segments: list[tuple[str, str]]) -> None:
    text_first = "".join(f"<t>{text}</t><a>{audio}</a>" for text, audio in segments)
    audio_first = "".join(f"<a>{audio}</a><t>{text}</t>" for text, audio in segments)
    assert TOKENS.text_first(segments) == f"<b>{text_first}<e>"
    assert TOKENS.audio_first(segments) == f"<b>{audio_first}<e>"


WORDS = st.sampled_from(
    ["<|text_end|>", "<|audio_start|>", "<|speech_7|>", "text", "<|", "|>", "end", "שלום", "\\", " "]
)


@given(st.lists(WORDS, max_size=8).map("".join))
@example("<|<|text_end|>text_end|>")
def test_a_token_is_found_wherever_it_stands_and_escaped_it_is_not(text: str) -> None:
    search = TokenSearch(Tokens(), USUAL)
    is_in = any(token in text for token in ("<|text_end|>", "<|audio_start|>"))
    assert (search.first_in(text) != "") == is_in
    escaped = search.escaped(text)
    assert search.first_in(escaped) == ""
    assert escaped == text.replace("<|text_end|>", "<\\|text_end|>").replace("<|audio_start|>", "<\\|audio_start|>")


def test_tokens_made_of_usual_characters_are_found_too() -> None:
    search = TokenSearch(Tokens("<|speech|>", "", "", "", "", ""), USUAL)
    assert search.first_in("<|speech_1|>") == ""
    assert search.first_in("<|speech_1|><|speech|>") == "<|speech|>"


def test_no_tokens_are_in_no_text() -> None:
    assert TokenSearch(Tokens("", "", "", "", "", ""), USUAL).first_in("<|text_end|>") == ""


def test_a_token_of_one_character_cannot_be_escaped() -> None:
    search = TokenSearch(Tokens("\n", "", "", "", "", ""), USUAL)
    assert search.first_in(search.escaped("a\nb")) == "\n"
