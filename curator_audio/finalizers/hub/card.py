"""The card of a dataset: its README.md on the Hub."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from curator_audio.errors import ConfigurationError

BEGIN = "<!-- curator_audio: what stands from here to the end mark is replaced when the dataset is published again -->"
END = "<!-- curator_audio: end -->"
_SECTION = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
MAX_NAME_LENGTH = 80
_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_MARKUP = re.compile(r"[^\w\s(),./%…-]|(?<!\w)_|_(?!\w)|(?<=www)\.")
"""What may mean something in Markdown or HTML, a link that is made of plain words included."""
CONTAINERS = (".parquet", ".tar", ".jsonl")
"""What ``datasets`` loads, the preferred first."""

Figure = tuple[str, str, str]
"""What was counted, by which stage, and how much."""


@dataclass(frozen=True)
class Published:
    """A file as the card sees it: its path in the repository, its size, and how many examples it holds."""

    name: str
    num_bytes: int
    num_examples: int


@dataclass(frozen=True)
class Description:
    """What the card is to say.

    Args:
        title: the dataset's name.
        pipeline: the pipeline that made it.
        files: all files of the dataset.
        is_complete: whether those are all that the repository holds; else nobody knows how many examples it has.
        features: the columns, as ``features_of`` gives them.
        has_unread_files: whether there are files on the Hub that ``features`` does not go by; what columns the card
            that is there names beside these may be theirs, and stay.
        figures: what the run counted.
        license: an identifier of a licence the Hub knows.
        tags: words to find it by.
        pretty_name: a name for people.
    """

    title: str
    pipeline: str
    files: Sequence[Published]
    is_complete: bool = True
    features: list[dict[str, Any]] | None = None
    has_unread_files: bool = False
    figures: Sequence[Figure] = ()
    license: str | None = None
    tags: Sequence[str] = field(default_factory=list)
    pretty_name: str | None = None

    @property
    def container(self) -> str:
        """The kind of files that hold the examples; empty where ``datasets`` knows none of them."""
        return container_of([file.name for file in self.files])

    @property
    def examples(self) -> list[Published]:
        """The files that hold the examples; what lies beside them tells more of these."""
        return [file for file in self.files if file.name.endswith(self.container)]


def container_of(names: Sequence[str]) -> str:
    """The kind of files that hold the examples, of these; empty where ``datasets`` knows none of them.

    Example:
        >>> container_of(["data/0.json", "data/0.tar"])
        '.tar'
    """
    return next((kind for kind in CONTAINERS if any(name.endswith(kind) for name in names)), "")


def card_of(description: Description, before: str | None = None) -> str:
    """The text of the card.

    Args:
        description: what it is to say.
        before: the card that is there: what people have written into it stays.

    Raises:
        ConfigurationError: the metadata of the card that is there cannot be read.

    Example:
        >>> card = card_of(Description("talks", "dataset", [Published("data/a.parquet", 10, 2000)], license="cc0-1.0"))
        >>> card.splitlines()[:4]
        ['---', 'license: cc0-1.0', 'size_categories:', '- 1K<n<10K']
    """
    from huggingface_hub import DatasetCard, DatasetCardData

    section = _section(description)
    if before is None:
        title = " ".join((description.pretty_name or description.title).split())
        metadata = DatasetCardData(**_metadata(description, {})).to_yaml()
        return f"---\n{metadata}\n---\n\n# {title}\n\n{section}\n"
    card = parsed(before)
    for name, value in _metadata(description, card.data.to_dict()).items():
        card.data[name] = value
    if _SECTION.search(card.text):
        text = _SECTION.sub(lambda _: section, card.text, count=1)
    else:
        text = card.text.rstrip("\n") + f"\n\n{section}\n"
    if text == card.text and parsed(before).data.to_dict() == card.data.to_dict():
        return before
    card.text = text
    assert isinstance(card, DatasetCard)
    return str(card)


def parsed(text: str) -> Any:
    """A card that is there.

    Raises:
        ConfigurationError: its metadata is no YAML mapping.
    """
    import yaml
    from huggingface_hub import DatasetCard

    try:
        return DatasetCard(text)
    except (yaml.YAMLError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"the metadata of its README.md cannot be read ({reason}); mend it there") from None


def size_category(num_examples: int) -> str:
    """The Hub's name for about how many examples a dataset has.

    Example:
        >>> [size_category(n) for n in (999, 1000, 25_000, 10**12)]
        ['n<1K', '1K<n<10K', '10K<n<100K', 'n>1T']
    """
    bounds = ["1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T"]
    for index, bound in enumerate(bounds):
        if num_examples < 10 ** (3 + index):
            return f"{bounds[index - 1]}<n<{bound}" if index else f"n<{bound}"
    return f"n>{bounds[-1]}"


def figures_of(stages: Iterable[tuple[str, dict[str, Any]]]) -> list[Figure]:
    """What stages counted, for people: durations in hours, no times of the computing, nothing of what was not taken.

    Example:
        >>> figures_of([("segmenter", {"segments": 1234.0, "segment_duration": 7200.0, "not_taken_snr": 3.0})])
        [('Segments', 'segmenter', '1,234'), ('Segment duration, hours', 'segmenter', '2.00')]
    """
    figures: list[Figure] = []
    for stage, metrics in stages:
        for name, value in metrics.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or name.startswith("not_taken_"):
                continue
            words = re.sub(r"\W+", " ", name.replace("_", " ")).strip().capitalize()
            if "duration" in name:
                figures.append((f"{words.removesuffix(' sec')}, hours", stage, f"{value / 3600:,.2f}"))
            elif not name.endswith(("_time", "_sec")):
                figures.append((words, stage, f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"))
    return figures


def size_of(num_bytes: float) -> str:
    """A size for people.

    Example:
        >>> size_of(3_140_000_000), size_of(20_000), size_of(0)
        ('3.1 GB', '20.0 kB', '0.0 kB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if num_bytes >= size:
            return f"{num_bytes / size:,.1f} {unit}"
    return f"{num_bytes / 1e3:.1f} kB"


def _metadata(description: Description, before: dict[str, Any]) -> dict[str, Any]:
    """The metadata that is ours to set; of lists, what else is in them stays."""
    num_examples = sum(file.num_examples for file in description.examples)
    ours: dict[str, Any] = {}
    if description.license:
        ours["license"] = description.license
    if description.pretty_name:
        ours["pretty_name"] = description.pretty_name
    ours["size_categories"] = [size_category(num_examples)]
    tags_before = before.get("tags")
    tags_before = tags_before if isinstance(tags_before, list) else [tags_before]
    if tags := list(dict.fromkeys([*(tag for tag in tags_before if isinstance(tag, str)), *description.tags])):
        ours["tags"] = tags
    if description.container:
        ours["configs"] = _with_ours(before.get("configs"), _config(description))
        others = before.get("dataset_info")
        infos = others if isinstance(others, list) else [others]
        info = _info(description, num_examples, infos)
        ours["dataset_info"] = _with_ours(others, info) if isinstance(others, list) else info
    return ours


def _config(description: Description) -> dict[str, Any]:
    is_flat = all(file.name.count("/") == 1 for file in description.examples)
    pattern = f"data/*{description.container}" if is_flat else f"data/**/*{description.container}"
    return {"config_name": "default", "data_files": [{"split": "train", "path": pattern}]}


def _info(description: Description, num_examples: int, before: list[Any]) -> dict[str, Any]:
    info: dict[str, Any] = {"config_name": "default"}
    features = list(description.features or [])
    if description.has_unread_files:
        names = {feature["name"] for feature in features}
        features += [feature for feature in _features_in(before) if feature["name"] not in names]
    if features:
        info["features"] = features
    if description.is_complete:  # datasets refuses to load another number of examples
        num_bytes = sum(file.num_bytes for file in description.examples)
        info["splits"] = [{"name": "train", "num_bytes": num_bytes, "num_examples": num_examples}]
        info |= {"download_size": num_bytes, "dataset_size": num_bytes}
    return info


def _features_in(infos: list[Any]) -> Iterator[dict[str, Any]]:
    """The columns that a card names for what is ours in it."""
    for info in infos:
        if isinstance(info, dict) and info.get("config_name", "default") == "default":
            named = info.get("features")
            for feature in named if isinstance(named, list) else []:
                if isinstance(feature, dict) and "name" in feature:
                    yield feature


def _with_ours(before: Any, ours: dict[str, Any]) -> list[dict[str, Any]]:
    """Configurations that people have written, with ours in the place of the one of its name."""
    others = [config for config in before if isinstance(config, dict)] if isinstance(before, list) else []
    others = [config for config in others if config.get("config_name", "default") != ours["config_name"]]
    return [ours, *others]


def as_text(name: str) -> str:
    """A name of others as a line of Markdown in which nothing has a meaning of its own; a long one is cut.

    Example:
        >>> as_text("segments (all)"), as_text("a|b\\n<script>"), as_text("alm_data_builder")
        ('segments (all)', 'a&#124;b &#60;script&#62;', 'alm_data_builder')
    """
    words = " ".join(_NO_TEXT.sub(" ", name).split())
    words = words if len(words) <= MAX_NAME_LENGTH else words[:MAX_NAME_LENGTH] + "…"
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", words)


def _as_code(name: str) -> str:
    """A name of others as code, where it can be; else as text."""
    return f"`{name}`" if re.fullmatch(r"[\w .-]{1,80}", name) and name == name.strip() else as_text(name)


def _section(description: Description) -> str:
    num_examples = sum(file.num_examples for file in description.examples)
    figures: list[Figure] = [
        ("Files", "", f"{len(description.files):,}"),
        ("Rows", "", f"{num_examples:,}"),
        ("Size", "", size_of(sum(file.num_bytes for file in description.files))),
        *description.figures,
    ]
    lines = [
        BEGIN,
        "",
        f"Made with the pipeline {_as_code(description.pipeline)} of curator_audio.",
        "",
        "| | Stage | |",
        "|---|---|---:|",
        *("| " + " | ".join(map(as_text, figure)) + " |" for figure in figures),
        "",
        END,
    ]
    return "\n".join(lines)
