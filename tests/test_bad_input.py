"""Bad input and careless commands, as the person at the command line meets them.

Whatever goes wrong: an exit status that tells what kind of thing it is, one line that names the thing and the remedy,
no traceback, and nothing half-written.
"""

from __future__ import annotations

import base64
import json
import math
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from curator_audio.cli import main
from curator_audio.storage.storage import Storage
from tests.conftest import REPOSITORY, make_entry

Record = dict[str, Any]
DONE, FAILED, WRONG = 0, 1, 2


@dataclass
class Outcome:
    """What a command left on the terminal."""

    status: int
    out: str
    err: str

    def __post_init__(self) -> None:
        assert "Traceback" not in self.out + self.err

    @property
    def error(self) -> str:
        """The one line that says what is wrong."""
        (line,) = [line for line in self.err.splitlines() if line.startswith("error: ")]
        return line.removeprefix("error: ")


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """The command line with the local executor, in this process."""

    def run(*overrides: object) -> Outcome:
        capsys.readouterr()
        status = main(["executor=local", *map(str, overrides)])
        return Outcome(status, *capsys.readouterr())

    return run


@pytest.fixture
def cli_process(run_cli: Any) -> Callable[..., Outcome]:
    """The same in a process of its own."""

    def run(*overrides: object, **options: Any) -> Outcome:
        done = run_cli("executor=local", *overrides, **options)
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def expected(manifest: Path, tmp_path: Path, cli: Any) -> bytes:
    """What comes of the good records alone."""
    cli(f"manifest_path={manifest}", f"output_dir={tmp_path}/expected")
    output = (tmp_path / "expected" / "alm_output.jsonl").read_bytes()
    assert output.count(b"\n") == 40
    return output


def quarantine(out: Path) -> list[Record]:
    return [json.loads(line) for path in sorted((out / "quarantine").iterdir()) for line in path.open("rb")]


def half_written(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.name.endswith(".tmp")]


# Records ------------------------------------------------------------------------------------------------------

TWO_SEGMENTS = '"audio_sample_rate": 16000, "segments": [{"start": 0.0, "end": 4.0, "speaker": "a"}, %s]}'


def with_segment(segment: str) -> bytes:
    return b"{" + (TWO_SEGMENTS % segment).encode()


BAD_LINES: list[tuple[bytes, str, str, str]] = [
    (b'{"segments": [', "alm_manifest_reader", "invalid_json", "Expecting value"),
    (b'{"segments": []} trailing', "alm_manifest_reader", "invalid_json", "Extra data"),
    (b'[{"segments": []}]', "alm_manifest_reader", "not_an_object", "the line holds a list, not a JSON object"),
    (b'"text"', "alm_manifest_reader", "not_an_object", "the line holds a str, not a JSON object"),
    (
        b'{"text": "caf\xe9", "segments": []}',
        "alm_manifest_reader",
        "invalid_utf8",
        "byte 13 of the line (0xe9) is not UTF-8",
    ),
    (b"\x00\x00\x00", "alm_manifest_reader", "invalid_json", "Expecting value"),
    (b"{}", "alm_data_builder", "missing_field", "the record has no 'segments'"),
    (b'{"segments": null}', "alm_data_builder", "wrong_type", "segments is null; give a list of objects"),
    (b'{"segments": {}}', "alm_data_builder", "wrong_type", "segments is an object; give a list of objects"),
    (with_segment("7"), "alm_data_builder", "wrong_type", "segments[1] is 7; give an object"),
    (with_segment('{"end": 5.0}'), "alm_data_builder", "missing_field", "segments[1].start is missing"),
    (with_segment('{"start": 5.0}'), "alm_data_builder", "missing_field", "segments[1].end is missing"),
    (with_segment('{"start": NaN, "end": 5.0}'), "alm_data_builder", "not_finite", "segments[1].start is NaN"),
    (with_segment('{"start": 4.0, "end": Infinity}'), "alm_data_builder", "not_finite", "segments[1].end is Infinity"),
    (with_segment('{"start": 4.0, "end": 1e999}'), "alm_data_builder", "not_finite", "segments[1].end is "),
    (
        with_segment('{"start": 5.0, "end": 4.0}'),
        "alm_data_builder",
        "negative_duration",
        "segments[1] ends at 4.0, before",
    ),
    (with_segment('{"start": "4.0", "end": 5.0}'), "alm_data_builder", "not_a_number", 'segments[1].start is "4.0"'),
    (with_segment('{"start": true, "end": 5.0}'), "alm_data_builder", "not_a_number", "segments[1].start is true"),
]
"""A line, the stage that refuses it, the reason it is counted by, and what the message says."""


def _no_number(_: str) -> None:
    """NaN and infinities are written as null."""


def _number(text: str) -> float | None:
    return float(text) if math.isfinite(float(text)) else None


@pytest.fixture
def mixed(manifest: Path, tmp_path: Path) -> Path:
    """The good records with all bad lines among them, each after another good one."""
    lines = manifest.read_bytes().splitlines()
    for position, (bad, *_) in enumerate(BAD_LINES):
        lines.insert(2 * position + 1, bad)
    path = tmp_path / "mixed.jsonl"
    path.write_bytes(b"\n".join([*lines, b""]))
    return path


@pytest.mark.parametrize("partition_size_mb", [4.0, 0.01])
def test_bad_records_are_set_aside_and_the_good_ones_are_complete(
    mixed: Path, tmp_path: Path, expected: bytes, partition_size_mb: float, cli_process: Any
) -> None:
    out = tmp_path / "out"

    done = cli_process(f"manifest_path={mixed}", f"output_dir={out}", f"stages.0.partition_size_mb={partition_size_mb}")

    assert done.status == DONE, done.err
    assert (out / "alm_output.jsonl").read_bytes() == expected
    assert f"Quarantined records: {len(BAD_LINES)} (" in done.out.splitlines()[-1]
    data = mixed.read_bytes()
    found = sorted(quarantine(out), key=lambda line: line["offset"])
    for line, (bad, stage, reason, message) in zip(found, BAD_LINES, strict=True):
        assert (line["source"], line["stage"], line["reason"]) == (str(mixed), stage, reason)
        assert message in line["message"]
        assert data[line["offset"] :].startswith(bad + b"\n")
        if stage == "alm_data_builder":
            assert line["record"] == json.loads(bad, parse_constant=_no_number, parse_float=_number)
        else:
            raw = base64.b64decode(line["raw_base64"]) if "raw_base64" in line else line["raw"].encode()
            assert (raw, line["num_bytes"]) == (bad, len(bad))
    counted = {reason: sum(1 for bad in BAD_LINES if bad[2] == reason) for *_, reason, _ in BAD_LINES}
    assert json.loads((out / "metrics.json").read_text())["quarantined"] == counted
    assert half_written(out) == []


@pytest.mark.parametrize(("bad", "stage", "reason", "message"), BAD_LINES)
def test_on_error_raise_names_file_line_stage_and_reason(
    manifest: Path, tmp_path: Path, cli: Any, bad: bytes, stage: str, reason: str, message: str
) -> None:
    lines = manifest.read_bytes().splitlines()
    manifest.write_bytes(b"\n".join([*lines[:20], bad, *lines[20:]]))

    stopped = cli(f"manifest_path={manifest}", f"output_dir={tmp_path}/out", "on_error=raise")

    assert stopped.status == FAILED
    assert stopped.error.startswith(f"{manifest}:21: [{stage}] {reason}: ")
    assert message in stopped.error
    assert stopped.error.endswith("; mend it, or run with on_error=quarantine")
    assert not (tmp_path / "out" / "alm_output.jsonl").exists()
    assert half_written(tmp_path) == []


def test_mended_records_are_taken_up_by_the_next_run(manifest: Path, tmp_path: Path, expected: bytes, cli: Any) -> None:
    good = manifest.read_bytes()
    arguments = (f"manifest_path={manifest}", f"output_dir={tmp_path}/out", "stages.0.partition_size_mb=0.02")
    manifest.write_bytes(good.replace(b'"segments"', b'"segment" ', 1))
    assert cli(*arguments).status == DONE
    assert [bad["reason"] for bad in quarantine(tmp_path / "out")] == ["missing_field"]

    manifest.write_bytes(good)
    again = cli(*arguments)

    assert (again.status, "Quarantined" in again.out) == (DONE, False)
    assert (tmp_path / "out" / "alm_output.jsonl").read_bytes() == expected
    assert quarantine(tmp_path / "out") == []


def test_bad_records_stay_with_their_partition_where_a_stage_takes_several(
    mixed: Path, tmp_path: Path, expected: bytes, cli: Any
) -> None:
    arguments = ["stages.0.partition_size_mb=0.02", "stages.1.batch_size=4"]

    assert cli(f"manifest_path={mixed}", f"output_dir={tmp_path}/out", *arguments).status == DONE

    files = sorted((tmp_path / "out" / "quarantine").iterdir())
    starts = [int(path.stem.rpartition("-")[2]) for path in files]
    for path, start, end in zip(files, starts, [*starts[1:], mixed.stat().st_size], strict=True):
        assert all(start <= json.loads(line)["offset"] < end for line in path.open("rb"))
    assert len(quarantine(tmp_path / "out")) == len(BAD_LINES)
    assert (tmp_path / "out" / "alm_output.jsonl").read_bytes() == expected


def test_a_long_raw_line_is_cut_and_its_length_told(manifest: Path, tmp_path: Path, expected: bytes, cli: Any) -> None:
    text = '{"text": "' + "naïve " * 20_000
    binary = b'{"text": "\xff' + b"x" * 100_000
    manifest.write_bytes(manifest.read_bytes() + text.encode() + b"\n" + binary + b"\n")

    assert cli(f"manifest_path={manifest}", f"output_dir={tmp_path}/out").status == DONE

    first, second = quarantine(tmp_path / "out")
    assert text.startswith(first["raw"]) and 2**16 - 2 <= len(first["raw"].encode()) <= 2**16
    assert first["num_bytes"] == len(text.encode())
    assert base64.b64decode(second["raw_base64"]) == binary[: 2**16]
    assert second["num_bytes"] == len(binary)
    assert (tmp_path / "out" / "alm_output.jsonl").read_bytes() == expected


MEMORY_OF_A_RUN = """
import sys
from curator_audio.cli import main
status = main(sys.argv[1:])
[peak_kb] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")]
print(f"peak: {int(peak_kb) // 1024}")
sys.exit(status)
"""


def test_a_line_of_200_mb_is_set_aside_unread(manifest: Path, tmp_path: Path, expected: bytes) -> None:
    path, num_bytes = tmp_path / "long.jsonl", 200 * 2**20
    with path.open("wb") as file:
        file.write(manifest.read_bytes())
        begin = file.tell()
        file.write(b'{"text": "')
        file.seek(begin + num_bytes)  # zeros in between, which need no disk
        file.write(b"\n")
    command = [
        sys.executable,
        "-c",
        MEMORY_OF_A_RUN,
        "executor=local",
        f"manifest_path={path}",
        f"output_dir={tmp_path}/out",
    ]
    run = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    done = Outcome(run.returncode, run.stdout, run.stderr)

    assert done.status == DONE, done.err
    assert (tmp_path / "out" / "alm_output.jsonl").read_bytes() == expected
    (bad,) = quarantine(tmp_path / "out")
    assert (bad["reason"], bad["offset"], bad["num_bytes"]) == ("line_too_long", begin, num_bytes)
    assert bad["message"] == "the line has 200.0 MB, more than the 64 MB of max_line_mb"
    assert bad["raw"] == '{"text": "' + "\0" * (2**16 - 10)
    peak_mb = int(done.out.rsplit("peak: ", 1)[1])
    assert peak_mb < 350, "64 MB of the line are kept until it is known to be too long, and a copy of them"


def test_nothing_but_bad_records(tmp_path: Path, cli: Any) -> None:
    manifest = tmp_path / "bad.jsonl"
    manifest.write_bytes(b"".join(bad + b"\n" for bad, *_ in BAD_LINES))

    failed = cli(f"manifest_path={manifest}", f"output_dir={tmp_path}/out")

    assert failed.status == FAILED
    assert failed.error == "every record was quarantined; see the reasons above"
    assert f"Quarantined records: {len(BAD_LINES)} (invalid_json 3, " in failed.out
    assert len(quarantine(tmp_path / "out")) == len(BAD_LINES)


def test_a_warning_says_why_there_are_no_windows_and_what_looks_unintended(tmp_path: Path, cli: Any) -> None:
    """Whatever of it an earlier run has done."""
    entry = make_entry(1) | {"audio_sample_rate": None}
    (tmp_path / "in.jsonl").write_text(json.dumps(entry) + "\n")
    command = [f"manifest_path={tmp_path}/in.jsonl", f"output_dir={tmp_path}/out", "stages.1.target_window_duration=60"]
    for _ in range(2):
        done = cli(*command)
        doubt, reason = done.err.splitlines()
        assert done.status == DONE
        assert doubt.startswith("WARNING: 'alm_data_overlap': target_duration is 120 s, and target_window_duration of ")
        assert "all 30 segments are lost to sample rate 0 < 16000 (min_sample_rate): the entries have no" in reason
    dry = cli(*command, "dry_run=true")
    assert dry.err.splitlines() == [doubt]


def test_a_manifest_of_blank_lines_has_no_records(tmp_path: Path, cli: Any) -> None:
    (tmp_path / "blank.jsonl").write_bytes(b"\n\r\n  \n")

    done = cli(f"manifest_path={tmp_path}/blank.jsonl", f"output_dir={tmp_path}/out")

    assert (done.status, (tmp_path / "out" / "alm_output.jsonl").read_bytes()) == (DONE, b"")


def test_a_field_that_no_record_has_is_told_before_anything_runs(tmp_path: Path, cli: Any) -> None:
    (tmp_path / "other.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n')

    wrong = cli(f"manifest_path={tmp_path}/other.jsonl", f"output_dir={tmp_path}/out")

    assert wrong.status == WRONG
    assert wrong.error.startswith("'alm_data_builder' needs the field 'segments', which no stage before it adds")
    assert not (tmp_path / "out").exists()


def test_a_stage_that_fails_as_a_whole(manifest: Path, tmp_path: Path, expected: bytes, cli: Any) -> None:
    arguments = [f"manifest_path={manifest}", f"output_dir={tmp_path}/out", "stages.0.partition_size_mb=0.02"]
    failing = "{_target_: curator_audio.stages.general.CallFunctionStage, function: tests.functions.failing, "
    stages = (
        f"stages=[{{_target_: curator_audio.stages.io.ManifestReaderStage, manifest_path: {manifest}}},"
        f"{failing} arguments: {{victim: audio/0007.wav}}}},"
        "{_target_: curator_audio.stages.io.ManifestWriterStage, output_path: '${output_path}'}]"
    )

    failed = cli(*arguments, stages)

    assert failed.status == FAILED
    assert failed.out.startswith("PIPELINE INCOMPLETE")
    assert "MemoryError: no room for the model" in failed.err
    assert failed.error == "1 partition(s) failed; run the same command again to try them again"
    assert not (tmp_path / "out" / "alm_output.jsonl").exists()


# Files --------------------------------------------------------------------------------------------------------

NONE_THERE = "there is no file named *.jsonl, *.json or *.ndjson, nor one of these with .gz or .zst"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty.jsonl", "{}/empty.jsonl is empty (0 bytes); give a manifest with a record a line"),
        ("missing.jsonl", "cannot read {}/missing.jsonl: there is no such file; check the path"),
        ("missing/", f"no manifest in {{}}/missing/; {NONE_THERE}"),
        ("missing*", "no file matches {}/missing*; check the pattern"),
        ("folder", f"no manifest in {{}}/folder; {NONE_THERE}"),
        ("a.wav", "{}/a.wav is not a manifest, but binary data; give a text file with one JSON object a line"),
        (
            "utf16",
            "{0}/utf16 is text in UTF-16; write iconv -f UTF-16 -t UTF-8 {0}/utf16 > manifest.jsonl",
        ),
        ("empty.jsonl/x", "cannot read {}/empty.jsonl/x: a part of the path is a file, not a folder"),
    ],
)
def test_manifests_that_are_none(name: str, message: str, tmp_path: Path, cli: Any) -> None:
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.wav").write_bytes(b"RIFF\x24\0\0\0WAVEfmt \n{\0")
    (tmp_path / "utf16").write_text('{"segments": []}\n' * 3, encoding="utf-16")

    wrong = cli(f"manifest_path={tmp_path}/{name}", f"output_dir={tmp_path}/out")

    assert (wrong.status, wrong.error) == (WRONG, message.format(tmp_path))
    assert not (tmp_path / "out" / "alm_output.jsonl").exists()


def test_a_truncated_archive(manifest: Path, tmp_path: Path, cli: Any) -> None:
    import gzip

    path = tmp_path / "in.jsonl.gz"
    path.write_bytes(gzip.compress(manifest.read_bytes())[:-20])

    failed = cli(f"manifest_path={path}", f"output_dir={tmp_path}/out")

    assert failed.status == FAILED
    remedy = "check that the file is whole, and gzip as its name says"
    assert failed.error == f"cannot decompress {path}: Truncated compressed stream; {remedy}"
    assert not (tmp_path / "out" / "alm_output.jsonl").exists()


@pytest.fixture
def as_anybody() -> list[str]:
    """What goes before a command so that file permissions hold for it."""
    if os.geteuid() != 0:
        return []
    setpriv = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"]
    if shutil.which("setpriv") is None or subprocess.run([*setpriv, "true"], capture_output=True).returncode != 0:
        pytest.skip("needs a machine on which root can give up its right to read everything")
    return setpriv


@pytest.mark.parametrize("unreadable", ["manifest", "folder of the output"])
def test_what_may_not_be_read_or_written(
    manifest: Path, tmp_path: Path, as_anybody: list[str], unreadable: str
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    if unreadable == "manifest":
        manifest.chmod(0o000)
    else:
        locked.chmod(0o555)
    out = locked / "out"
    command = [sys.executable, "main.py", "executor=local", f"manifest_path={manifest}", f"output_dir={out}"]

    run = subprocess.run([*as_anybody, *command], capture_output=True, text=True, cwd=REPOSITORY)
    wrong = Outcome(run.returncode, run.stdout, run.stderr)

    assert wrong.status == WRONG
    what = f"read {manifest}" if unreadable == "manifest" else f"write {out}/_ledger/lock.json"
    assert wrong.error == f"cannot {what}: access denied; check its owner and permissions"
    assert not out.exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs a machine on which a small file system can be mounted")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk(tmp_path: Path, small_disk: Path, cli: Any) -> None:
    manifest = tmp_path / "many.jsonl"
    with manifest.open("w") as file:
        for seed in range(400):
            file.write(json.dumps(make_entry(seed) | {"notes": "x" * 4000}) + "\n")
    arguments = (f"manifest_path={manifest}", f"output_dir={small_disk}/out", "stages.0.partition_size_mb=0.2")

    failed = cli(*arguments)

    assert failed.status == FAILED
    assert failed.error.startswith(f"cannot write {small_disk}/out/_ledger/")
    assert "no space left on the device; make room and run again, what is done stays" in failed.error
    assert half_written(small_disk) == []
    assert not (small_disk / "out" / "alm_output.jsonl").exists()
    assert list((small_disk / "out" / "_ledger" / "parts").iterdir()) != []

    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    done = cli(*arguments)
    assert done.status == DONE
    assert "of them by an earlier run" in done.out, "what was done before the disk was full is not done again"
    assert (small_disk / "out" / "alm_output.jsonl").read_bytes().count(b"\n") == 400


def test_a_disk_that_is_full_from_the_start(manifest: Path, small_disk: Path, cli: Any) -> None:
    (small_disk / "big").write_bytes(b"x" * (2**20 - 4096))
    (small_disk / "rest").write_bytes(b"x")

    failed = cli(f"manifest_path={manifest}", f"output_dir={small_disk}/out")

    assert failed.status == FAILED
    assert "no space left on the device" in failed.error
    assert [path for path in (small_disk / "out").rglob("*") if path.is_file()] == []


# S3 -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Starts a store that gives one answer to everything; returns its endpoint."""
    monkeypatch.setenv("S3_ACCESS_KEY", "my-access-key")
    monkeypatch.setenv("S3_SECRET_KEY", "my-secret-key")
    servers = []

    def start(status: int, code: str) -> str:
        body = f"<Error><Code>{code}</Code><Message>the store says {code}</Message></Error>".encode()

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

            def log_message(self, *arguments: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("http_status", "code", "status", "message"),
    [
        (500, "InternalError", FAILED, "the store answered 500 (InternalError: the store says InternalError)"),
        (403, "AccessDenied", WRONG, "access denied; check credentials and bucket policy"),
        (
            403,
            "SignatureDoesNotMatch",
            WRONG,
            "the secret key is not the access key's; check S3_SECRET_KEY (or AWS_SECRET_ACCESS_KEY)",
        ),
    ],
)
@pytest.mark.parametrize("where", ["manifest_path", "output_dir"])
def test_a_store_that_refuses(
    manifest: Path,
    tmp_path: Path,
    cli: Any,
    answering: Any,
    where: str,
    http_status: int,
    code: str,
    status: int,
    message: str,
) -> None:
    url = "s3://bucket/" + ("in.jsonl" if where == "manifest_path" else "out")
    paths = {"manifest_path": manifest, "output_dir": tmp_path / "out"} | {where: url}
    overrides = [f"{name}={path}" for name, path in paths.items()]

    failed = cli(*overrides, f"storage_options.endpoint_url={answering(http_status, code)}")

    assert failed.status == status
    path = url if where == "manifest_path" else f"{url}/_ledger/lock.json"
    assert failed.error == f"cannot {'read' if where == 'manifest_path' else 'write'} {path}: {message}"
    assert "my-access-key" not in failed.err and "my-secret-key" not in failed.err
    assert not (tmp_path / "out" / "alm_output.jsonl").exists()


def test_an_endpoint_where_nobody_listens(tmp_path: Path, cli: Any, answering: Any) -> None:
    failed = cli(
        "manifest_path=s3://bucket/in.jsonl",
        f"output_dir={tmp_path}/out",
        "storage_options.endpoint_url=http://127.0.0.1:1",
    )

    assert failed.status == FAILED
    assert failed.error == (
        "cannot read s3://bucket/in.jsonl: the endpoint cannot be reached "
        "(http://127.0.0.1:1 refuses connections: nothing listens there); check endpoint_url"
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["manifest_path=s3:///in.jsonl"],
            "stages.0: s3:///in.jsonl names no bucket; write s3://bucket/… or set S3_BUCKET",
        ),
        (["output_dir=s3:///out"], "s3:///out/alm_output.jsonl names no bucket"),
        (["manifest_path=s3:/bucket/in.jsonl"], "stages.0: s3:/bucket/in.jsonl is no URL; write s3://bucket/in.jsonl"),
        (["manifest_path=sss://bucket/in.jsonl"], "'sss://' is not a known protocol"),
        (
            ["output_dir=s3://b/out", "storage_options.endpoint_url=host:9000"],
            "endpoint_url is 'host:9000'; give a URL",
        ),
        (["output_dir=s3://b/out", "storage_options.endpoint=http://host"], "storage_options.endpoint is not known"),
        (
            ["output_dir=s3://b/out", "storage_options.verify=no.pem"],
            "storage_options.verify is 'no.pem'; give true, false",
        ),
        (["storage_options.secret_key=hunter2"], "storage_options has 'secret_key': secrets belong in the environment"),
        (["storage_options=http://host"], "storage_options is 'http://host'; give a mapping"),
    ],
)
def test_careless_storage(
    manifest: Path, tmp_path: Path, cli: Any, monkeypatch: pytest.MonkeyPatch, overrides: list[str], message: str
) -> None:
    monkeypatch.delenv("S3_BUCKET_NAME", raising=False)

    wrong = cli(f"manifest_path={manifest}", f"output_dir={tmp_path}/out", *overrides)

    assert wrong.status == WRONG
    assert message in wrong.error
    assert "hunter2" not in wrong.err


def test_a_bucket_that_is_not_there(manifest: Path, tmp_path: Path, cli: Any, s3_bucket: str) -> None:
    nowhere = "s3://bucket-that-is-not-there"
    for overrides, message in (
        ([f"manifest_path={nowhere}/in.jsonl"], f"cannot read {nowhere}/in.jsonl: there is no such bucket"),
        ([f"output_dir={nowhere}/out"], f"cannot write {nowhere}/out/_ledger/lock.json: there is no such bucket"),
    ):
        wrong = cli(f"manifest_path={manifest}", f"output_dir={tmp_path}/out", *overrides)
        assert (wrong.status, wrong.error) == (WRONG, f"{message}; check the path")


def test_bad_records_on_s3(manifest: Path, mixed: Path, expected: bytes, cli: Any, s3_bucket: str) -> None:
    storage, arguments = Storage(), (f"manifest_path={s3_bucket}/in/", f"output_dir={s3_bucket}/out")
    storage.write(f"{s3_bucket}/in/all.jsonl", mixed.read_bytes())

    done = cli(*arguments)

    assert done.status == DONE, done.err
    assert storage.read(f"{s3_bucket}/out/alm_output.jsonl") == expected
    (quarantined,) = storage.list_files(f"{s3_bucket}/out/quarantine")
    lines = [json.loads(line) for line in storage.read(quarantined.path).splitlines()]
    assert sorted(line["reason"] for line in lines) == sorted(reason for _, _, reason, _ in BAD_LINES)

    storage.write(f"{s3_bucket}/in/all.jsonl", manifest.read_bytes())
    assert cli(*arguments).status == DONE
    assert storage.read(f"{s3_bucket}/out/alm_output.jsonl") == expected
    assert storage.list_files(f"{s3_bucket}/out/quarantine") == []


def test_a_web_server_that_refuses(tmp_path: Path, cli: Any, answering: Any) -> None:
    url = f"{answering(403, 'AccessDenied')}/in.jsonl"

    wrong = cli(f"manifest_path={url}", f"output_dir={tmp_path}/out")

    assert (wrong.status, wrong.error) == (
        WRONG,
        f"cannot read {url}: access denied; check credentials and bucket policy",
    )


# Parameters and commands --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "override",
    [
        "stages.0.partition_size_mb=0",
        "stages.0.partition_size_mb=inf",
        "stages.0.max_line_mb=-1",
        "stages.1.target_window_duration=0",
        "stages.1.target_window_duration=-120",
        "stages.1.target_window_duration=nan",
        "stages.1.target_window_duration=two",
        "stages.1.tolerance=-0.1",
        "stages.1.tolerance=1.1",
        "stages.1.tolerance=null",
        "stages.1.min_sample_rate=-1",
        "stages.1.min_sample_rate=inf",
        "stages.1.min_bandwidth=-1",
        "stages.1.min_bandwidth=true",
        "stages.1.min_speakers=-1",
        "stages.1.min_speakers=2.5",
        "stages.1.min_speakers=6",
        "stages.1.max_speakers=-1",
        "stages.1.max_speakers=many",
        "stages.1.truncation=1",
        "stages.1.drop_fields=7",
        "stages.1.drop_fields_top_level=[1]",
        "stages.2.overlap_percentage=-1",
        "stages.2.overlap_percentage=101",
        "stages.2.overlap_percentage=nan",
        "stages.2.overlap_percentage=",
        "stages.2.target_duration=0",
        "stages.2.target_duration=[120]",
    ],
)
def test_a_parameter_out_of_range_is_named(override: str, manifest: Path, tmp_path: Path, cli: Any) -> None:
    wrong = cli(f"manifest_path={manifest}", f"output_dir={tmp_path}/out", override)

    place, _, parameter = override.partition("=")[0].rpartition(".")
    assert wrong.status == WRONG
    assert wrong.error.startswith((f"{place}: {parameter} is ", f"{place}: min_speakers is "))
    assert "; give " in wrong.error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["manifset_path=x"], "there is no 'manifset_path'; did you mean 'manifest_path'?"),
        (["stages.1.min_speekers=3"], "there is no 'min_speekers' in stages.1; did you mean 'min_speakers'?"),
        (["stages.9.min_speakers=3"], "'stages' has the items 0 to 3, not '9'"),
        (
            ["stages.1._target_=pathlib.Path"],
            "stages.1: pathlib.Path is not a subclass of ProcessingStage; check _target_",
        ),
        (["executor=loca"], "executor=loca: there is no such executor; did you mean 'local'?"),
        (["on_error=stop"], "on_error is 'stop'; give one of quarantine, raise"),
        (["on_error=stop", "dry_run=true"], "on_error is 'stop'; give one of quarantine, raise"),
        (["--config-name", "pipelin"], "there is no pipeline 'pipelin' in "),
        (["--config-path", "/no/such/folder"], "--config-path /no/such/folder is not a folder; check it"),
        (["in.jsonl"], "'in.jsonl' is not an override; write key=value"),
        (["after=3"], "after is 3; give a list"),
        (["output_dir=", "dry_run=true"], "output_dir is ''; give a folder"),
        (["output_dir=null", "dry_run=true"], "output_dir is None; give a folder"),
        (["stages.1.name=5"], "stage 1 of pipeline 'alm' is named 5; give it a name"),
        (["stages.1.name="], "stage 1 of pipeline 'alm' is named ''; give it a name"),
        (["stages.1.batch_size=0"], "batch_size of 'alm_data_builder' is 0; give a whole number of at least 1"),
        (["stages.1.batch_size=2.5"], "batch_size of 'alm_data_builder' is 2.5; give a whole number of at least 1"),
    ],
)
def test_careless_commands(
    arguments: list[str], message: str, manifest: Path, tmp_path: Path, cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())

    wrong = cli(f"manifest_path={manifest}", f"output_dir={tmp_path}/out", *arguments)

    assert wrong.status == WRONG
    assert message in wrong.error
    assert set(tmp_path.iterdir()) == before


def test_without_a_manifest(cli: Any, tmp_path: Path) -> None:
    wrong = cli(f"output_dir={tmp_path}/out")
    assert (wrong.status, wrong.error) == (WRONG, "manifest_path is not set; add manifest_path=… to the command")


def test_an_output_folder_that_is_a_file(manifest: Path, tmp_path: Path, cli: Any) -> None:
    before = manifest.read_bytes()

    wrong = cli(f"manifest_path={manifest}", f"output_dir={manifest}")

    assert wrong.status == WRONG
    assert wrong.error == f"cannot write {manifest}/_ledger/lock.json: a part of the path is a file, not a folder"
    assert manifest.read_bytes() == before


@pytest.mark.parametrize("source", ["", "/in.jsonl", "/in*"])
def test_the_input_is_never_the_output(source: str, manifest: Path, tmp_path: Path, cli: Any) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    path = folder / "in.jsonl"
    shutil.copy(manifest, path)

    wrong = cli(f"manifest_path={folder}{source}", f"output_dir={tmp_path}/out", f"output_path={path}")

    assert wrong.status == WRONG
    assert wrong.error == f"{path} is read, and would be written too; choose an output that the input does not include"
    assert path.read_bytes() == manifest.read_bytes()


def test_the_output_of_a_run_is_not_taken_for_its_input(manifest: Path, tmp_path: Path, cli: Any) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    shutil.copy(manifest, folder / "in.jsonl")
    arguments = (f"manifest_path={folder}", f"output_dir={folder}/out")
    assert cli(*arguments).status == DONE
    before = (folder / "out" / "alm_output.jsonl").read_bytes()

    assert cli(*arguments).status == DONE

    assert (folder / "out" / "alm_output.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("def f(:", "stages.0: 'broken.Stage' cannot be imported: SyntaxError: "),
        ("1 / 0", "stages.0: 'broken.Stage' cannot be imported: ZeroDivisionError: division by zero"),
        (
            "from curator_audio.stages.record_stage import RecordStage\n"
            "class Stage(RecordStage):\n"
            "    def __init__(self): raise ValueError('no model here')\n"
            "    def process_record(self, record): return record\n",
            "stages.0: Stage cannot be made: ValueError: no model here",
        ),
    ],
)
def test_a_broken_stage_of_ones_own(
    module: str, message: str, manifest: Path, tmp_path: Path, cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    (tmp_path / "broken.py").write_text(module)

    wrong = cli(f"manifest_path={manifest}", f"output_dir={tmp_path}/out", "stages=[{_target_: broken.Stage}]")

    assert wrong.status == WRONG
    assert wrong.error.startswith(message)


def test_commas_in_a_path(manifest: Path, tmp_path: Path, cli: Any) -> None:
    shutil.copy(manifest, tmp_path / "a,b.jsonl")
    assert cli(f"manifest_path={tmp_path}/a,b.jsonl", f"output_dir={tmp_path}/out").status == DONE


def test_a_second_run_with_other_parameters(manifest: Path, tmp_path: Path, cli: Any) -> None:
    arguments = (f"manifest_path={manifest}", f"output_dir={tmp_path}/out", "stages.1.min_bandwidth=0")
    assert cli(*arguments).status == DONE
    before = (tmp_path / "out" / "alm_output.jsonl").read_bytes()

    wrong = cli(*arguments, "stages.1.min_speakers=3", "stages.2.overlap_percentage=10")

    assert wrong.status == WRONG
    assert wrong.error == (
        f"{tmp_path}/out holds the output of another configuration: alm_data_builder.min_speakers: 2 → 3; "
        "alm_data_overlap.overlap_percentage: 50 → 10; choose another output_dir, or overwrite=true to replace it "
        "(its 1 partition(s) would be done again)"
    )
    assert (tmp_path / "out" / "alm_output.jsonl").read_bytes() == before

    assert cli(*arguments, "stages.2.overlap_percentage=10", "overwrite=true").status == DONE
    assert (tmp_path / "out" / "alm_output.jsonl").read_bytes() != before


@pytest.mark.parametrize("damaged", ["configuration.json", "entries.jsonl", "after/join_parts.json"])
def test_a_damaged_ledger(damaged: str, manifest: Path, tmp_path: Path, expected: bytes, cli: Any) -> None:
    arguments = (f"manifest_path={manifest}", f"output_dir={tmp_path}/out", "stages.0.partition_size_mb=0.02")
    assert cli(*arguments).status == DONE
    path = tmp_path / "out" / "_ledger" / damaged
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    again = cli(*arguments)

    if damaged == "configuration.json":
        assert (again.status, "is damaged" in again.error) == (WRONG, True)
        assert cli(*arguments, "overwrite=true").status == DONE
    else:
        assert again.status == DONE
        assert "is damaged and passed over" in again.err
    assert (tmp_path / "out" / "alm_output.jsonl").read_bytes() == expected
