"""The pipeline ``publish`` as a user runs it, against a Hub on this machine that the real client talks to."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from curator_audio.stages.speech import SegmentParquetWriterStage
from curator_audio.stages.speech.segments import segment_record
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch
from tests.conftest import REPOSITORY, run_cli
from tests.extras import needs
from tests.hub_server import TOKEN, HubServer, serving_hub

huggingface_hub: Any = needs("huggingface_hub")


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with serving_hub() as server:
        yield server


@pytest.fixture
def environment(hub: HubServer, tmp_path: Path) -> dict[str, str]:
    """What a user sets, and what keeps this machine's own settings out."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    return {
        **kept,
        "HF_ENDPOINT": hub.endpoint,
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_XET": "1",
    }


def publish(
    environment: dict[str, str], source: Path | str, out: Path | str, *overrides: str
) -> subprocess.CompletedProcess[str]:
    executor = [] if any(word.startswith("executor=") for word in overrides) else ["executor=local"]
    words = ["repo_id=me/talks", f"input_path={source}", f"output_dir={out}", *executor, *overrides]
    done = run_cli("--config-name", "publish", *words, env=environment)
    assert "Traceback" not in done.stdout + done.stderr
    return done


def published(environment: dict[str, str], source: Path | str, out: Path | str, *overrides: str) -> str:
    done = publish(environment, source, out, *overrides)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture
def interleaved(tmp_path: Path) -> Path:
    """What a pipeline has written: four shards in ``data/``, its ledger, metrics and quarantine."""
    folder = tmp_path / "interleaved"
    (folder / "data").mkdir(parents=True)
    for number in range(4):
        rows = {"text_first": [f"text {number}.{row}" for row in range(3)], "num_segments": [1, 2, number]}
        pq.write_table(pa.table(rows), folder / "data" / f"train-{number:04d}.parquet")
    storage = Storage()
    counted = {"process_time_total_sec": 1.0, "num_tasks": 4, "items_in": 12, "segments": 1234.0, "duration": 9000.0}
    metrics = {"pipeline": "interleave", "output_path": f"{folder}/data", "stages": {"documents": counted}}
    storage.write(f"{folder}/metrics.json", json.dumps(metrics).encode())
    storage.write(f"{folder}/_ledger/entries.jsonl", b"{}\n")
    storage.write(f"{folder}/quarantine/part-a.jsonl", b"{}\n")
    return folder


def downloaded(hub: HubServer, folder: Path) -> str:
    """All of the repository in a folder, fetched with the Hub's client."""
    return str(
        huggingface_hub.snapshot_download(
            "me/talks", repo_type="dataset", endpoint=hub.endpoint, token=TOKEN, local_dir=folder
        )
    )


def metadata(hub: HubServer) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(hub.files("me/talks")["README.md"].decode().split("---\n")[1])
    return found


def test_shards_of_a_pipeline(hub: HubServer, environment: dict[str, str], interleaved: Path, tmp_path: Path) -> None:
    overrides = ["license=cc-by-4.0", "tags=[audio,text]", "num_files_per_commit=3"]
    printed = published(environment, interleaved, tmp_path / "publish", *overrides)
    files = hub.files("me/talks")
    card = files.pop("README.md").decode()
    assert files == {f"data/{path.name}": path.read_bytes() for path in sorted((interleaved / "data").iterdir())}
    assert hub.repos["me/talks"].private
    assert hub.commits("me/talks") == ["publish: 3 files", "publish: 1 file"]
    assert all(line.startswith("INFO: ") for line in printed.splitlines() if line), "no bars, no advice of the client"
    assert "INFO: 3 of 4 files, " in printed and " at datasets/me/talks\n" in printed
    assert "Made with the pipeline `interleave`" in card
    assert "| Rows |  | 12 |" in card
    assert "| Segments | documents | 1,234 |\n| Duration, hours | documents | 2.50 |" in card
    assert metadata(hub)["license"] == "cc-by-4.0" and metadata(hub)["tags"] == ["audio", "text"]


def test_a_folder_of_shards_alone(
    hub: HubServer, environment: dict[str, str], interleaved: Path, tmp_path: Path
) -> None:
    published(environment, interleaved / "data", tmp_path / "publish", "include=*1.parquet", "pretty_name=One of them")
    files = hub.files("me/talks")
    assert list(files) == ["README.md", "data/train-0001.parquet"]
    assert b"\n# One of them\n" in files["README.md"] and b"| Segments | documents | 1,234 |" in files["README.md"]


def test_links_that_lead_to_no_file_are_set_aside(
    hub: HubServer, environment: dict[str, str], interleaved: Path, tmp_path: Path
) -> None:
    (interleaved / "data/latest").symlink_to(interleaved / "data")
    (interleaved / "data/gone.parquet").symlink_to(tmp_path / "nowhere")
    done = publish(environment, interleaved, tmp_path / "publish")
    assert done.returncode == 0 and "Quarantined records: 2 (unreadable_file 2)" in done.stdout
    assert len(hub.files("me/talks")) == 1 + 4


def test_the_dataset_loads(hub: HubServer, environment: dict[str, str], interleaved: Path, tmp_path: Path) -> None:
    datasets: Any = needs("datasets")
    published(environment, interleaved, tmp_path / "publish")
    folder = downloaded(hub, tmp_path / "copy")
    loaded = datasets.load_dataset(folder, cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].num_rows == 12
    assert loaded["train"][3] == {"text_first": "text 1.0", "num_segments": 1}
    assert loaded["train"].features == {
        "text_first": datasets.Value("string"),
        "num_segments": datasets.Value("int64"),
    }


def test_it_loads_with_sound(hub: HubServer, environment: dict[str, str], tmp_path: Path) -> None:
    datasets: Any = needs("datasets")
    segment = segment_record(
        segment_id="a", duration_sec=1.0, sample_rate=8000, audio={"bytes": b"fLaC", "path": "a"}, codes=[1, 2]
    )
    writer = SegmentParquetWriterStage(f"{tmp_path}/shards")
    for name in ("0", "more/1"):
        writer.write(Storage(), f"{tmp_path}/shards/{name}.parquet", [AudioBatch([segment])])
    published(environment, tmp_path / "shards", tmp_path / "publish")
    assert metadata(hub)["configs"][0]["data_files"][0]["path"] == "data/**/*.parquet"
    folder = downloaded(hub, tmp_path / "copy")
    loaded = datasets.load_dataset(folder, split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.num_rows == 2
    assert loaded.features["audio"] == datasets.Audio()
    assert loaded.features["codes"] == datasets.List(datasets.Value("int32"))
    assert loaded.cast_column("audio", datasets.Audio(decode=False))[0]["audio"]["path"] == "a"


def test_files_of_other_columns_load_together(
    hub: HubServer, environment: dict[str, str], interleaved: Path, tmp_path: Path
) -> None:
    datasets: Any = needs("datasets")
    more = pa.table({"text_first": ["later"], "num_segments": pa.array([3], pa.int32()), "language": ["ar"]})
    pq.write_table(more, interleaved / "data" / "train-0009.parquet")
    assert "type" not in published(environment, interleaved, tmp_path / "publish")
    folder = downloaded(hub, tmp_path / "copy")
    loaded = datasets.load_dataset(folder, split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded[0] == {"text_first": "text 0.0", "num_segments": 1, "language": None}
    assert loaded[12] == {"text_first": "later", "num_segments": 3, "language": "ar"}

    (interleaved / "data" / "train-0009.parquet").unlink()  # which stays on the Hub, with its column
    pq.write_table(pa.table({"text_first": ["new"]}), interleaved / "data" / "train-0004.parquet")
    published(environment, interleaved, tmp_path / "publish")
    folder = downloaded(hub, tmp_path / "copy")
    loaded = datasets.load_dataset(folder, split="train", cache_dir=str(tmp_path / "cache2"))
    assert loaded["language"] == [None] * 13 + ["ar"]


def test_tar_shards_with_sidecars_load(hub: HubServer, environment: dict[str, str], tmp_path: Path) -> None:
    datasets: Any = needs("datasets")
    (tmp_path / "shards").mkdir()
    for number in range(2):
        with tarfile.open(tmp_path / "shards" / f"{number}.tar", "w") as archive:
            for name in ("a", "b", "c"):
                for suffix, data in (("bin", b"\0\1"), ("json", b'{"text": "so be it"}')):
                    member = tarfile.TarInfo(f"{number}{name}.{suffix}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
        (tmp_path / "shards" / f"{number}.json").write_text(json.dumps({"num_samples": 3}))
    published(environment, tmp_path / "shards", tmp_path / "publish")
    assert list(hub.files("me/talks")) == ["README.md", "data/0.json", "data/0.tar", "data/1.json", "data/1.tar"]
    assert metadata(hub)["dataset_info"]["splits"][0]["num_examples"] == 6
    folder = downloaded(hub, tmp_path / "copy")
    loaded = datasets.load_dataset(folder, split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.num_rows == 6 and loaded[0]["json"] == {"text": "so be it"}


def test_more_on_the_hub_than_is_published_loads_too(
    hub: HubServer, environment: dict[str, str], interleaved: Path, tmp_path: Path
) -> None:
    datasets: Any = needs("datasets")
    older = (interleaved / "data" / "train-0000.parquet").read_bytes()
    hub.create("me/talks", files={"data/older.parquet": older, "data/notes.json": b"{}"})
    told = publish(environment, interleaved, tmp_path / "publish", "dry_run=true").stdout
    assert "\n  1 other file(s) stay there, such as data/older.parquet\n" in told
    printed = published(environment, interleaved, tmp_path / "publish")
    assert "WARNING: datasets/me/talks holds 1 other file(s) in data/, such as data/older.parquet" in printed
    folder = downloaded(hub, tmp_path / "copy")
    assert datasets.load_dataset(folder, split="train", cache_dir=str(tmp_path / "cache")).num_rows == 15


def test_a_hub_whose_xet_storage_is_not_there(
    hub: HubServer, environment: dict[str, str], interleaved: Path, tmp_path: Path
) -> None:
    needs("hf_xet")
    done = publish({**environment, "HF_HUB_DISABLE_XET": "0"}, interleaved, tmp_path / "publish")
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line]
    assert line.startswith("error: cannot send data/train-0000.parquet to datasets/me/talks: ")
    published(environment, interleaved, tmp_path / "publish")
    assert len(hub.files("me/talks")) == 5


# Stopped and started again -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("call", "after"), [("put", 2), ("commit", 0), ("commit", 1), ("verify", 3)])
def test_after_a_kill_nothing_is_sent_twice(
    call: str, after: int, hub: HubServer, environment: dict[str, str], interleaved: Path, tmp_path: Path
) -> None:
    reached = hub.stop_at(call, after)
    words = ["repo_id=me/talks", f"input_path={interleaved}", f"output_dir={tmp_path}/publish", "executor=local"]
    command = [
        sys.executable,
        str(REPOSITORY / "main.py"),
        "--config-name",
        "publish",
        *words,
        "num_files_per_commit=2",
    ]
    process = subprocess.Popen(
        command, env=environment, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert reached.wait(120)
    process.send_signal(signal.SIGKILL)
    process.wait()
    hub.release()
    published(environment, interleaved, tmp_path / "publish", "num_files_per_commit=2")
    files = hub.files("me/talks")
    assert b"| Files |  | 4 |" in files.pop("README.md")
    assert files == {f"data/{path.name}": path.read_bytes() for path in sorted((interleaved / "data").iterdir())}
    assert len(hub.stored) == len(set(hub.stored)) == 4


def test_a_second_run_sends_nothing(
    hub: HubServer, environment: dict[str, str], interleaved: Path, tmp_path: Path
) -> None:
    published(environment, interleaved, tmp_path / "publish")
    hub.requests.clear()
    printed = published(environment, interleaved, tmp_path / "publish")
    assert hub.kinds() == ["info"] and "datasets/me/talks has all 4 files already" in printed


def test_files_that_are_gone_are_still_in_the_dataset(
    hub: HubServer, environment: dict[str, str], interleaved: Path, tmp_path: Path
) -> None:
    published(environment, interleaved, tmp_path / "publish")
    (interleaved / "data" / "train-0000.parquet").unlink()
    pq.write_table(pa.table({"text_first": ["new"], "num_segments": [1]}), interleaved / "data" / "train-0004.parquet")
    published(environment, interleaved, tmp_path / "publish")
    assert len(hub.files("me/talks")) == 1 + 5
    assert metadata(hub)["dataset_info"]["splits"][0]["num_examples"] == 13
    assert len(metadata(hub)["dataset_info"]["features"]) == 2


# Only a look ---------------------------------------------------------------------------------------------------


def test_a_dry_run_tells_and_does_nothing(
    hub: HubServer, environment: dict[str, str], interleaved: Path, tmp_path: Path
) -> None:
    told = publish(environment, interleaved, tmp_path / "publish", "dry_run=true").stdout
    size = (interleaved / "data" / "train-0000.parquet").stat().st_size
    assert (
        f"then: publish_to_hub, to datasets/me/talks at {hub.endpoint}, branch main (will be created, private)\n"
        in told
    )
    assert f"\n  send data/train-0000.parquet {size / 1e3:.1f} kB\n" in told
    assert "\n  4 files to send, " in told and "; 0 there already\n" in told
    assert hub.kinds() == ["info"] and hub.repos == {}
    assert not (tmp_path / "publish").exists()

    published(environment, interleaved, tmp_path / "publish")
    (interleaved / "data" / "train-0001.parquet").write_bytes(b"PAR1 and so on, and longer than it was" * 100)
    hub.requests.clear()
    told = publish(environment, interleaved, tmp_path / "publish", "dry_run=true", "revision=v2").stdout
    assert "branch v2 (will be created)\n" in told and "  4 files to send, " in told
    told = publish(environment, interleaved, tmp_path / "publish", "dry_run=true").stdout
    assert "  there data/train-0000.parquet" in told and "  send data/train-0001.parquet 3.8 kB\n" in told
    assert "\n  1 files to send, 3.8 kB; 3 there already\n" in told
    assert set(hub.kinds()) == {"info", "tree"}


def test_a_dry_run_needs_no_token(
    hub: HubServer, environment: dict[str, str], interleaved: Path, tmp_path: Path
) -> None:
    del environment["HF_TOKEN"]
    unseen = "  without a token, which publishing needs, nothing private is seen"

    hub.create("me/talks", private=True)
    told = publish(environment, interleaved, tmp_path / "publish", "dry_run=true").stdout
    assert "(will be created, private)\n" in told and "  4 files to send, " in told and unseen in told

    hub.create("me/open", private=False)
    words = ("dry_run=true", "repo_id=me/open", "private=false")
    told = publish(environment, interleaved, tmp_path / "publish", *words).stdout
    assert f"to datasets/me/open at {hub.endpoint}, branch main\n" in told and "  4 files to send, " in told
    assert not (tmp_path / "publish").exists()


# The token -----------------------------------------------------------------------------------------------------


def test_a_wrong_token(hub: HubServer, environment: dict[str, str], interleaved: Path, tmp_path: Path) -> None:
    token = "hf_aTokenOfSomebodyElse"
    done = publish({**environment, "HF_TOKEN": token, "HF_DEBUG": "0"}, interleaved, tmp_path / "publish")
    assert done.returncode == 2
    refused = "cannot look at datasets/me/talks: the Hub does not accept the token"
    assert done.stderr.strip().splitlines()[-1] == f"error: {refused}; set HF_TOKEN, or log in with: hf auth login"
    assert token not in done.stdout + done.stderr
    assert not any(token in path.read_text(errors="replace") for path in files_below(tmp_path))


def test_the_token_is_written_nowhere(
    hub: HubServer, environment: dict[str, str], interleaved: Path, tmp_path: Path
) -> None:
    done = publish(environment, interleaved, tmp_path / "publish")
    dry = publish(environment, interleaved, tmp_path / "publish", "dry_run=true")
    assert not any(TOKEN in said for said in (done.stdout, done.stderr, dry.stdout, dry.stderr))
    assert files_below(tmp_path / "publish")
    assert not any(TOKEN in path.read_text(errors="replace") for path in files_below(tmp_path))
    sent = [request for request in hub.requests if TOKEN.encode() in (request.body or b"")]
    assert sent == [] and not any(TOKEN in request.path for request in hub.requests)


def test_no_token(hub: HubServer, environment: dict[str, str], interleaved: Path, tmp_path: Path) -> None:
    del environment["HF_TOKEN"]
    done = publish(environment, interleaved, tmp_path / "publish")
    assert done.returncode == 2
    needed = "publishing to datasets/me/talks needs a token of the Hub; set HF_TOKEN, or log in with: hf auth login"
    assert done.stderr.strip() == f"error: {needed}"
    assert hub.requests == [] and not (tmp_path / "publish" / "_ledger").exists()


def test_the_client_is_told_to_stay_offline(
    hub: HubServer, environment: dict[str, str], interleaved: Path, tmp_path: Path
) -> None:
    done = publish({**environment, "HF_HUB_OFFLINE": "1"}, interleaved, tmp_path / "publish")
    assert done.returncode == 2
    assert done.stderr.strip() == "error: cannot look at datasets/me/talks: HF_HUB_OFFLINE is set; unset it"
    assert hub.requests == []


def test_the_token_of_a_login(hub: HubServer, environment: dict[str, str], interleaved: Path, tmp_path: Path) -> None:
    del environment["HF_TOKEN"]
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text(TOKEN)
    published(environment, interleaved, tmp_path / "publish")
    assert len(hub.files("me/talks")) == 5


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


# From and to other places --------------------------------------------------------------------------------------


def test_from_and_to_s3(hub: HubServer, environment: dict[str, str], interleaved: Path, s3_bucket: str) -> None:
    storage = Storage()
    for path in files_below(interleaved):
        storage.write(f"{s3_bucket}/out/{path.relative_to(interleaved)}", path.read_bytes())
    credentials = {name: value for name, value in os.environ.items() if name.startswith("S3_")}
    for expected in (4, 0):
        hub.requests.clear()
        published({**environment, **credentials}, f"{s3_bucket}/out", f"{s3_bucket}/publish")
        assert len(hub.puts()) == expected
    assert b"| Segments | documents | 1,234 |" in hub.files("me/talks")["README.md"]


def test_a_run_whose_output_is_published(
    hub: HubServer, environment: dict[str, str], manifest: Path, tmp_path: Path
) -> None:
    """A pipeline of one's own, which need not know that there is such an option."""
    (tmp_path / "mine.yaml").write_text(
        f"""
name: mine
executor: local
output_dir: {tmp_path}/out
stages:
  - _target_: curator_audio.stages.io.ManifestReaderStage
    manifest_path: {manifest}
  - _target_: curator_audio.stages.io.ManifestWriterStage
    output_path: ${{output_dir}}/shards
"""
    )
    words = ["--config-path", tmp_path, "--config-name", "mine", "publish.repo_id=me/talks", "publish.tags=[speech]"]
    dry = run_cli(*words, "dry_run=true", env=environment)
    assert "  and the files of 1 partition(s) that are still to be done\n" in dry.stdout, dry.stderr
    done = run_cli(*words, env=environment)
    assert done.returncode == 0, done.stderr
    files = hub.files("me/talks")
    (shard,) = (tmp_path / "out" / "shards").iterdir()
    assert files[f"data/{shard.name}"] == shard.read_bytes()
    assert metadata(hub)["dataset_info"]["splits"][0]["num_examples"] == 40
    assert "speech" in metadata(hub)["tags"]
    dry = run_cli(*words, "dry_run=true", env=environment)
    assert f"  there data/{shard.name}" in dry.stdout and "  0 files to send" in dry.stdout
