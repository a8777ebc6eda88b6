"""The dataset's card: what it tells, and what of it people keep."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from curator_audio.errors import ConfigurationError
from curator_audio.finalizers.hub.card import BEGIN, END, Description, Published, card_of, figures_of, size_category
from tests.extras import needs

needs("huggingface_hub")

FILES = [Published("data/a.parquet", 100, 600), Published("data/b.parquet", 50, 500)]
DESCRIPTION = Description(
    "talks",
    "interleave",
    FILES,
    features=[{"name": "text", "dtype": "string"}],
    figures=[("Segments", "segmenter", "1,234")],
    license="cc-by-4.0",
    tags=["audio", "speech"],
    pretty_name="Talks of people",
)


def metadata(card: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(card.split("---\n")[1])
    return found


def test_metadata() -> None:
    assert metadata(card_of(DESCRIPTION)) == {
        "license": "cc-by-4.0",
        "pretty_name": "Talks of people",
        "size_categories": ["1K<n<10K"],
        "tags": ["audio", "speech"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/*.parquet"}]}],
        "dataset_info": {
            "config_name": "default",
            "features": [{"name": "text", "dtype": "string"}],
            "splits": [{"name": "train", "num_bytes": 150, "num_examples": 1100}],
            "download_size": 150,
            "dataset_size": 150,
        },
    }


def test_body() -> None:
    body = card_of(DESCRIPTION).split("---\n", 2)[2]
    assert body == (
        f"\n# Talks of people\n\n{BEGIN}\n\nMade with the pipeline `interleave` of curator_audio.\n\n"
        "| | Stage | |\n|---|---|---:|\n| Files |  | 2 |\n| Rows |  | 1,100 |\n| Size |  | 0.1 kB |\n"
        f"| Segments | segmenter | 1,234 |\n\n{END}\n"
    )


@pytest.mark.parametrize(("before", "tags"), [("5", []), ("[a, 5, [b]]", ["a"]), ("a", ["a"]), ("{a: b}", [])])
def test_tags_that_are_none_are_passed_over(before: str, tags: list[str]) -> None:
    assert metadata(card_of(DESCRIPTION, f"---\ntags: {before}\n---\n"))["tags"] == [*tags, "audio", "speech"]


def test_the_card_of_the_same_dataset_is_the_same() -> None:
    card = card_of(DESCRIPTION)
    assert card_of(DESCRIPTION, card) == card


def test_what_people_wrote_stays() -> None:
    written = (
        card_of(DESCRIPTION).replace("# Talks of people\n", "# My talks\n\nRead *this*.\n") + "\n## Thanks\n\nTo all.\n"
    )
    written = written.replace("license: cc-by-4.0\n", "license: mit\nlanguage:\n- de\n").replace(
        "- audio\n", "- radio\n"
    )
    files = [*FILES, Published("data/c.parquet", 50, 9000)]
    card = card_of(replace(DESCRIPTION, files=files, license=None, tags=["audio"]), written)
    assert card.split("---\n", 2)[2] == (
        written.split("---\n", 2)[2]
        .replace("| Files |  | 2 |", "| Files |  | 3 |")
        .replace("1,100", "10,100")
        .replace("0.1 kB", "0.2 kB")
    )
    found = metadata(card)
    assert (found["license"], found["language"]) == ("mit", ["de"])
    assert found["tags"] == ["radio", "speech", "audio"]
    assert found["size_categories"] == ["10K<n<100K"]
    assert found["dataset_info"]["splits"][0]["num_examples"] == 10100


def test_a_card_without_our_part_is_added_to() -> None:
    card = card_of(DESCRIPTION, "# Mine\n\nAll mine.\n")
    assert metadata(card)["license"] == "cc-by-4.0"
    assert card.split("---\n", 2)[2].startswith(f"# Mine\n\nAll mine.\n\n{BEGIN}\n")


def test_other_configurations_stay() -> None:
    before = (
        "---\nconfigs:\n- config_name: small\n  data_files: data/a.parquet\n- config_name: default\n  data_files: x\n"
        "dataset_info:\n- config_name: small\n- config_name: default\n---\n"
    )
    found = metadata(card_of(DESCRIPTION, before))
    assert [config["config_name"] for config in found["configs"]] == ["default", "small"]
    assert found["configs"][0]["data_files"][0]["path"] == "data/*.parquet"
    assert [info["config_name"] for info in found["dataset_info"]] == ["default", "small"]


@pytest.mark.parametrize("before", ["---\n- a\n---\n", "---\na: [\n---\n"])
def test_broken_metadata_is_not_replaced(before: str) -> None:
    with pytest.raises(ConfigurationError, match=r"README\.md cannot be read .*mend it there"):
        card_of(DESCRIPTION, before)


def test_what_lies_beside_tar_shards_are_no_rows() -> None:
    files = [Published("data/x/0.tar", 10, 20), Published("data/x/0.json", 1, 1)]
    found = metadata(card_of(replace(DESCRIPTION, files=files, features=None)))
    assert found["configs"][0]["data_files"][0]["path"] == "data/**/*.tar"
    assert found["dataset_info"]["splits"] == [{"name": "train", "num_bytes": 10, "num_examples": 20}]


def test_where_more_is_there_nobody_knows_how_many() -> None:
    found = metadata(card_of(replace(DESCRIPTION, is_complete=False)))
    assert found["dataset_info"] == {"config_name": "default", "features": DESCRIPTION.features}


def test_files_that_datasets_does_not_know_get_no_configuration() -> None:
    found = metadata(card_of(replace(DESCRIPTION, files=[Published("data/a.npz", 1, 1)], features=None)))
    assert "configs" not in found and "dataset_info" not in found and found["size_categories"] == ["n<1K"]


def test_figures() -> None:
    counted = {"segments": 3.0, "filtered_audio_duration": 5400.0, "share": 0.125, "load_time": 3.0, "wait_sec": 1.0}
    assert figures_of([("a", counted), ("b", {"name": "x", "a|b": 1})]) == [
        ("Segments", "a", "3"),
        ("Filtered audio duration, hours", "a", "1.50"),
        ("Share", "a", "0.125"),
        ("A b", "b", "1"),
    ]


def test_size_categories() -> None:
    assert [size_category(n) for n in (0, 999_999, 10**6, 10**9 - 1, 10**11, 10**13)] == [
        "n<1K",
        "100K<n<1M",
        "1M<n<10M",
        "100M<n<1B",
        "100B<n<1T",
        "n>1T",
    ]


def test_columns_of_files_that_are_only_on_the_hub_stay() -> None:
    old = [{"name": "text", "dtype": "int8"}, {"name": "language", "dtype": "string"}]
    before = card_of(replace(DESCRIPTION, features=old))
    assert metadata(card_of(DESCRIPTION, before))["dataset_info"]["features"] == DESCRIPTION.features
    kept = metadata(card_of(replace(DESCRIPTION, has_unread_files=True), before))["dataset_info"]["features"]
    assert kept == [*(DESCRIPTION.features or []), {"name": "language", "dtype": "string"}]


@pytest.mark.parametrize(
    "name",
    [
        "a | b | c",
        "a\n\n## Another heading\n\n---\nlicense: mit\n---",
        "<script>alert(1)</script>",
        "<!-- curator_audio: end -->",
        "[text](https://example.org) ![image](x.png)",
        "`code` ``` *bold* __strong__ ~~gone~~ $math$ @someone #1",
        "www.example.org and https://example.org",
        "\u202etxt.exe\x1b[2J\u2028- a list",
        "x" * 5000,
        "\ud800",
    ],
)
def test_names_of_others_are_text_and_nothing_else(name: str) -> None:
    figures = [("Segments", name, "1"), ("Segments", "segmenter", "2")]
    description = replace(DESCRIPTION, pipeline=name, figures=figures)
    card = card_of(description)
    rows = [line for line in card.splitlines() if line.startswith("|")]
    assert len(rows) == 7 and all(row.count("|") == 4 for row in rows)
    assert card.count("\n---\n") == 1 and card.count(END) == 1 and "\n## " not in card
    body = card.split(BEGIN)[1].split(END)[0]
    assert not set(body) & set("<>[]*`~$@\u202e\x1b\u2028") and "www." not in body and "://" not in body
    assert len(card) < 3000 and metadata(card) == metadata(card_of(DESCRIPTION))
    assert card_of(description, card) == card  # the section is found again
    card.encode()


@pytest.mark.parametrize(
    "name", ["a: b", "---", "a\n---\nlicense: mit", "'\"{}[]#&*!|>%@`", "\x00\x85\u2028", "no", "~"]
)
def test_columns_of_others_are_quoted(name: str) -> None:
    described = replace(DESCRIPTION, features=[{"name": name, "dtype": "string"}], pretty_name=f"x {name}")
    card = card_of(described)
    from huggingface_hub import DatasetCard

    data = DatasetCard(card).data.to_dict()
    assert data["dataset_info"]["features"] == [{"name": name, "dtype": "string"}]
    assert (data["license"], data["pretty_name"]) == ("cc-by-4.0", f"x {name}")
    assert card_of(described, card) == card
