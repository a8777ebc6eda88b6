"""What frames texts and audio in a document, and what is done about texts that contain it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass

ESCAPE = "\\"

Segment = tuple[str, str]
"""Text and audio of a segment."""


@dataclass(frozen=True)
class Tokens:
    """The six tokens of a document; an empty one is left out.

    Example:
        >>> tokens = Tokens(document_begin="", document_end="")
        >>> tokens.text_first([("Good evening", "<|speech_7|>")])
        '<|text_start|>Good evening<|text_end|><|audio_start|><|speech_7|><|audio_end|>'
        >>> tokens.audio_first([("Good evening", "<|speech_7|>")])
        '<|audio_start|><|speech_7|><|audio_end|><|text_start|>Good evening<|text_end|>'
    """

    document_begin: str = "<|begin_of_text|>"
    document_end: str = "<|end_of_text|>"
    text_start: str = "<|text_start|>"
    text_end: str = "<|text_end|>"
    audio_start: str = "<|audio_start|>"
    audio_end: str = "<|audio_end|>"

    def text_first(self, segments: Iterable[Segment]) -> str:
        """The document in which the text of each segment comes before its audio."""
        middle, between = self.text_end + self.audio_start, self.audio_end + self.text_start
        pieces = [self.document_begin, self.text_start]
        for text, audio in segments:
            pieces += text, middle, audio, between
        pieces[-1] = self.audio_end + self.document_end
        return "".join(pieces)

    def audio_first(self, segments: Iterable[Segment]) -> str:
        """The document in which the audio of each segment comes before its text."""
        middle, between = self.audio_end + self.text_start, self.text_end + self.audio_start
        pieces = [self.document_begin, self.audio_start]
        for text, audio in segments:
            pieces += audio, middle, text, between
        pieces[-1] = self.text_end + self.document_end
        return "".join(pieces)


class TokenSearch:
    """Looks for tokens in texts.

    Args:
        tokens: the tokens; empty ones are in no text.
        usual: characters that most of the texts are made of.

    Example:
        >>> search = TokenSearch(Tokens(), usual="<|speech_0123456789|>")
        >>> search.first_in("<|speech_7|>" * 100), search.first_in("it says <|text_end|> here")
        ('', '<|text_end|>')
        >>> search.escaped("it says <|text_end|> here")
        'it says <\\\\|text_end|> here'
    """

    def __init__(self, tokens: Tokens, usual: str) -> None:
        self._tokens = [token for token in astuple(tokens) if token]
        self._tell_tales = _tell_tales(self._tokens, usual)

    def first_in(self, text: str) -> str:
        """A token that the text contains, an empty string where there is none."""
        # Looking for single characters takes a tenth of the time.
        if self._tell_tales and not any(character in text for character in self._tell_tales):
            return ""
        return next((token for token in self._tokens if token in text), "")

    def escaped(self, text: str) -> str:
        """The text with a backslash behind the first character of every token in it; without effect on a lone one."""
        for _ in self._tokens:
            token = self.first_in(text)
            text = text.replace(token, token[:1] + ESCAPE + token[1:]) if token else text
        return text


def _tell_tales(tokens: list[str], usual: str) -> str:
    """Few characters of which every token has one, none of them usual; none at all where that cannot be."""
    found = ""
    left = tokens
    while left:
        unusual = sorted({character for token in left for character in token if character not in usual})
        if not unusual:
            return ""
        found += max(unusual, key=lambda character: sum(character in token for token in left))
        left = [token for token in left if found[-1] not in token]
    return found
