"""Which publishers' channels are taken, and what they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from curator_audio.errors import ConfigurationError


@dataclass(frozen=True)
class Channels:
    """Channels selected and renamed; a channel is a source of recordings, such as their publisher.

    Args:
        selected: the names of those that are taken, old or new ones; None for all.
        mapping: new names by old ones.

    Raises:
        ConfigurationError: not a list of names, or not a mapping of names that folders can have.

    Example:
        >>> channels = Channels(["Atheer"], {"Atheer_-": "Atheer"})
        >>> channels.name_of("Atheer_-"), channels.name_of("Other")
        ('Atheer', None)
    """

    selected: Sequence[str] | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = self.selected
        if names is not None and (
            isinstance(names, str) or not isinstance(names, Sequence) or not all(isinstance(n, str) for n in names)
        ):
            raise ConfigurationError(
                f"channels is {names!r}; give a list of names such as [news,talks], "
                """or as JSON: 'channels=["أخبار"]'"""
            )
        if not isinstance(self.mapping, Mapping) or not all(
            isinstance(name, str) and isinstance(new, str) and new for name, new in self.mapping.items()
        ):
            raise ConfigurationError(
                f"channel_mapping is {self.mapping!r}; give new names by old ones such as {{old: new}}, "
                """or as JSON: 'channel_mapping={"old name": "new name"}'"""
            )
        for new in self.mapping.values():
            if "/" in new or new in (".", ".."):
                raise ConfigurationError(f"channel_mapping has {new!r}, which is no name of a folder; give another")

    def renamed(self, channel: str) -> str:
        """What a channel is called, whether it is taken or not."""
        return self.mapping.get(channel, channel)

    def name_of(self, channel: str) -> str | None:
        """What a channel is called, or None where it is not taken."""
        name = self.renamed(channel)
        is_taken = self.selected is None or channel in self.selected or name in self.selected
        return name if is_taken else None
