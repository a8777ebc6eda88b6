"""Our ALM pipeline beside NeMo Curator's, measured in one run on one machine.

    python benchmarking/peers/compare.py --input-manifest sample.jsonl
    python benchmarking/peers/compare.py --input-manifest sample.jsonl --only whole in-process --repeats 3

Makes an environment with the peer on first use, repeats the input to get manifests of the sizes needed, runs both
sides in turn as processes of their own, and prints a table. README.md beside this file says what each measure is.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

PEER_REQUIREMENTS = ("nemo-curator==1.4.0", "torch==2.11.0", "torchaudio==2.11.0", "soundfile")
PEER_SCRIPT = Path(__file__).resolve().with_name("nemo_curator_alm.py")
ROOT = PEER_SCRIPT.parents[2]
IN_PROCESS_SCRIPT = ROOT / "benchmarking" / "scripts" / "alm_in_process.py"
MEASURES = ("whole", "per-entry", "in-process", "two-cores")
LARGE = 3
"""How many times the base manifest the large one holds; the difference of the two leaves start-up out."""


class ComparisonError(Exception):
    """A run failed, or the two sides did not do the same work."""


@dataclass(frozen=True)
class Run:
    """One process to time: whose, on which executor, on how many repetitions of the input, and its output."""

    side: str
    executor: str
    factor: int
    output: str = "none"

    def __str__(self) -> str:
        return f"{self.side} {self.executor} x{self.factor}"


@dataclass(frozen=True)
class Cost:
    """What is worked out of runs: the first alone, or the first less the second, times ``scale``."""

    label: str
    run: Run
    less: Run | None = None
    scale: float = 1.0

    def runs(self) -> list[Run]:
        return [self.run] if self.less is None else [self.less, self.run]

    def value(self, figures: dict[Run, float]) -> float:
        return self.scale * (figures[self.run] - (figures[self.less] if self.less else 0.0))


@dataclass(frozen=True)
class Measure:
    """Two costs side by side; the ratio says how many times the second is of the first."""

    name: str
    unit: str
    first: Cost
    second: Cost

    def runs(self) -> list[Run]:
        pairs = zip(self.first.runs(), self.second.runs(), strict=True)
        return [run for pair in pairs for run in pair]

    def ratio(self, figures: dict[Run, float]) -> float | None:
        first, second = self.first.value(figures), self.second.value(figures)
        return second / first if first > 0 and second > 0 else None


@dataclass
class Bench:
    """Where things are, and what the runs so far said."""

    work_dir: Path
    lines: list[bytes]
    peer_python: Path
    peer_parameters: str
    timeout: float
    log: list[dict[str, Any]] = field(default_factory=list)

    def manifest(self, factor: int) -> Path:
        """The input, repeated; made on first use."""
        path = self.work_dir / f"manifest_x{factor}.jsonl"
        if not path.exists():
            with path.open("wb") as file:
                for _ in range(factor):
                    file.writelines(self.lines)
        return path

    def figure(self, run: Run) -> float:
        """Time one run: seconds of the whole process, or the milliseconds an entry that it reports itself."""
        manifest, output = self.manifest(run.factor), self.work_dir / "output"
        output.mkdir()
        try:
            seconds, stdout = self.execute(self.command(run, manifest, output), run.side)
            report = last_json(stdout) if run.side == "theirs" or run.executor == "in-process" else {}
            if run.output != "none":
                report["entries"] = count_entries(output, run.output)
        finally:
            shutil.rmtree(output)
        self.check(run, report)
        self.log.append({**asdict(run), "seconds": seconds, "report": report})
        figure = float(report["ms_per_entry"]) if run.executor == "in-process" else seconds
        unit = "ms/entry" if run.executor == "in-process" else "s"
        entries = len(self.lines) * run.factor
        print(f"{run.side} {run.executor}, {entries:,} entries: {figure:.3f} {unit}", file=sys.stderr, flush=True)
        return figure

    def command(self, run: Run, manifest: Path, output: Path) -> list[str]:
        if run.side == "ours":
            return our_command(run, manifest, output)
        kind = ["stages"] if run.executor == "in-process" else ["pipeline", "--executor", run.executor]
        script = [str(self.peer_python), str(PEER_SCRIPT), *kind, "--manifest", str(manifest)]
        return [*script, "--parameters", self.peer_parameters]

    def execute(self, command: list[str], side: str) -> tuple[float, str]:
        """Run a process to its end and return its wall-clock seconds and standard output."""
        stdout, stderr = self.work_dir / "stdout.txt", self.work_dir / "stderr.txt"
        with stdout.open("wb") as out, stderr.open("wb") as err:
            started = time.perf_counter()
            process = subprocess.Popen(
                command,
                cwd=ROOT if side == "ours" else self.work_dir,
                env={**environment(side), "RAY_TMPDIR": str(self.work_dir)},
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
            try:
                status = wait(process, self.timeout)
                seconds = time.perf_counter() - started
            finally:
                end_session(process.pid)
        if status != 0:
            tail = "\n".join((tail_of(stdout), tail_of(stderr)))
            raise ComparisonError(f"{' '.join(command)}\nended with status {status}\n{tail}")
        return seconds, stdout.read_text(encoding="utf-8", errors="replace")

    def check(self, run: Run, report: dict[str, Any]) -> None:
        """All entries must have come out, with as many windows an entry as in every other run."""
        expected = len(self.lines) * run.factor
        if report.get("entries") != expected:
            raise ComparisonError(f"{run}: {expected} entries went in, {report.get('entries')} came out")
        for earlier in self.log:
            for key in ("windows", "filtered_windows"):
                known = earlier["report"].get(key)
                found = report.get(key)
                if known is not None and found is not None and known * run.factor != found * earlier["factor"]:
                    raise ComparisonError(
                        f"{run}: {found} {key} do not agree with {known} of an earlier run: {earlier}"
                    )


def our_command(run: Run, manifest: Path, output: Path) -> list[str]:
    if run.executor == "in-process":
        return [sys.executable, str(IN_PROCESS_SCRIPT), "--manifest", str(manifest)]
    command = [sys.executable, "main.py", "--config-name", "pipeline", f"executor={run.executor}"]
    command += [f"manifest_path={manifest}", f"output_dir={output}"]
    return [*command, f"output_path={output}/parts/"] if run.output == "folder" else command


def environment(side: str) -> dict[str, str]:
    """The caller's environment, less what would lend a run another's packages or a Ray that is already there."""
    dropped = ("RAY_ADDRESS", "PYTHONPATH", "PYTHONHOME")
    variables = {name: value for name, value in os.environ.items() if name not in dropped}
    variables["RAY_USAGE_STATS_ENABLED"] = "0"
    if side == "ours":
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return variables


def wait(process: subprocess.Popen[bytes], timeout: float) -> int:
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        raise ComparisonError(f"a run took more than {timeout:.0f} s and was ended") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def end_session(session: int, patience: float = 10.0) -> None:
    """Let a run's helpers finish, then end what is left of them, lest they slow the runs after it."""
    deadline = time.monotonic() + patience
    while (left := session_members(session)) and time.monotonic() < deadline:
        time.sleep(0.2)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def session_members(session: int) -> list[int]:
    """The living processes of a session, read from /proc; none where the system has no such folder."""
    members = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, found = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[:4]
            if int(found) == session and state != "Z":
                members.append(int(path.parent.name))
    return members


def tail_of(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def last_json(text: str) -> dict[str, Any]:
    """The last line that is a JSON object; engines print other lines around it."""
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            report: dict[str, Any] = json.loads(line)
            return report
    raise ComparisonError("a run printed no result")


def count_entries(folder: Path, output: str) -> int:
    """The records written: the lines of the single manifest, or of all parts below the output folder."""
    if output == "file":
        return count_lines(folder / "alm_output.jsonl")
    parts = (path for path in (folder / "parts").rglob("*.jsonl") if path.parent.name != "quarantine")
    return sum(count_lines(path) for path in parts if not path.name.startswith((".", "_")))


def count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 22), b""))


def make_measures(options: argparse.Namespace, entries: int) -> list[Measure]:
    """The measures asked for, over runs that several of them may share."""
    base, large = options.repeat_factor, LARGE * options.repeat_factor
    scale = 1000.0 / (entries * (large - base))

    def ours(executor: str, factor: int, output: str = "folder") -> Run:
        return Run("ours", executor, factor, output)

    def theirs(factor: int) -> Run:
        return Run("theirs", options.peer_executor, factor)

    def beyond_start(label: str, executor: str) -> Cost:
        return Cost(label, ours(executor, large), ours(executor, base), scale)

    whole = Cost("ours", ours("ray_actors", base, "file")), Cost("theirs", theirs(base))
    per_entry = beyond_start("ours", "ray_actors"), Cost("theirs", theirs(large), theirs(base), scale)
    alone = (
        Cost("ours", Run("ours", "in-process", options.in_process_factor)),
        Cost("theirs", Run("theirs", "in-process", options.in_process_factor)),
    )
    cores = beyond_start("ours, ray_actors", "ray_actors"), beyond_start("ours, local", "local")
    measures = [
        Measure("whole", "s", *whole),
        Measure("per-entry", "ms/entry", *per_entry),
        Measure("in-process", "ms/entry", *alone),
        Measure("two-cores", "ms/entry", *cores),
    ]
    return [measure for measure in measures if measure.name in options.only]


def unique_runs(measures: Iterable[Measure]) -> list[Run]:
    return list(dict.fromkeys(run for measure in measures for run in measure.runs()))


def warm_up(bench: Bench, runs: Iterable[Run]) -> None:
    """Run every kind once on the bare input: libraries come into the page cache, and a broken side fails early."""
    for run in dict.fromkeys(Run(run.side, run.executor, 1, run.output) for run in runs):
        bench.figure(run)
    bench.log.clear()


def measure_rounds(bench: Bench, measures: list[Measure], repeats: int) -> list[dict[Run, float]]:
    """Time every run once a round; the order turns round each time."""
    runs = unique_runs(measures)
    return [
        {run: bench.figure(run) for run in (runs if number % 2 == 0 else reversed(runs))} for number in range(repeats)
    ]


def summarize(measure: Measure, rounds: list[dict[Run, float]]) -> dict[str, Any]:
    """Medians over the rounds; the ratio is the median of each round's own."""
    first = [measure.first.value(figures) for figures in rounds]
    second = [measure.second.value(figures) for figures in rounds]
    ratios = [ratio for figures in rounds if (ratio := measure.ratio(figures)) is not None]
    return {
        "measure": measure.name,
        "unit": measure.unit,
        "first": {"label": measure.first.label, "median": statistics.median(first), "rounds": first},
        "second": {"label": measure.second.label, "median": statistics.median(second), "rounds": second},
        "ratio": statistics.median(ratios) if len(ratios) == len(rounds) else None,
        "ratios": ratios,
    }


def print_table(summaries: list[dict[str, Any]]) -> None:
    rows = [("measure", "", "", "ratio")]
    for summary in summaries:
        costs = [
            f"{side['label']} {side['median']:.3f} {summary['unit']}" for side in (summary["first"], summary["second"])
        ]
        ratio = "n/a" if summary["ratio"] is None else f"{summary['ratio']:.2f}"
        rows.append((summary["measure"], *costs, ratio))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def default_venv() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "curator_audio" / "peers" / PEER_REQUIREMENTS[0].replace("==", "-")


def peer_versions(python: Path) -> dict[str, str] | None:
    """What is installed in the peer's environment, or None where its stages cannot be imported."""
    if not python.exists():
        return None
    done = subprocess.run(
        [str(python), str(PEER_SCRIPT), "versions"],
        check=False,
        capture_output=True,
        text=True,
        env=environment("theirs"),
    )
    return last_json(done.stdout) if done.returncode == 0 else None


def ensure_venv(folder: Path, base_python: str) -> dict[str, str]:
    """Make the peer's environment unless it works already."""
    python = folder / "bin" / "python"
    if (versions := peer_versions(python)) is not None:
        return versions
    print(f"installing {' '.join(PEER_REQUIREMENTS)} in {folder} (several GB)", file=sys.stderr, flush=True)
    if not python.exists():
        subprocess.run([base_python, "-m", "venv", str(folder)], check=True)
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PEER_REQUIREMENTS], check=True, stdout=sys.stderr)
    if (versions := peer_versions(python)) is None:
        raise ComparisonError(f"NeMo Curator's ALM stages cannot be imported in {folder}")
    return versions


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--input-manifest", type=Path, required=True, help="JSONL manifest with segments, repeated to the sizes needed")
    add("--repeat-factor", type=int, default=2000, help="times the input is repeated (default: %(default)s)")
    add("--in-process-factor", type=int, default=400, help="the same for in-process (default: %(default)s)")
    add("--only", nargs="+", choices=MEASURES, default=MEASURES, help="measures to take (default: all)")
    add("--repeats", type=int, default=1, help="rounds, of which the median counts (default: %(default)s)")
    add("--peer-executor", choices=("ray_actors", "ray_data", "xenna"), default="ray_actors")
    add("--peer-parameters", default="{}", metavar="JSON", help="as for nemo_curator_alm.py --parameters")
    add("--venv", type=Path, default=default_venv(), help="the peer's environment (default: %(default)s)")
    add("--peer-python", default=sys.executable, help="the Python to make it with (default: this one)")
    add("--work-dir", type=Path, help="where manifests and outputs go while running (default: the temporary folder)")
    add("--timeout", type=float, default=3600.0, help="seconds a single run may take (default: %(default)s)")
    add("--skip-warm-up", action="store_true", help="do not run every kind once on the bare input first")
    add("--results", type=Path, help="a JSON file for all figures")
    return parser.parse_args(arguments)


def compare(options: argparse.Namespace, work_dir: Path) -> dict[str, Any]:
    lines = [line + b"\n" for line in options.input_manifest.read_bytes().splitlines() if line.strip()]
    measures = make_measures(options, len(lines))
    runs = unique_runs(measures)
    load_average = os.getloadavg()[0]
    needs_peer = any(run.side == "theirs" for run in runs)
    versions = ensure_venv(options.venv, options.peer_python) if needs_peer else {}
    # absolute, not resolved: the link's own place is what makes it the environment's Python
    peer_python = options.venv.absolute() / "bin" / "python"
    bench = Bench(work_dir, lines, peer_python, options.peer_parameters, options.timeout)
    if not options.skip_warm_up:
        warm_up(bench, runs)
    rounds = measure_rounds(bench, measures, options.repeats)
    return {
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            "load_average_at_start": load_average,
        },
        "peer": versions,
        "entries": {"base": len(lines) * options.repeat_factor, "in-process": len(lines) * options.in_process_factor},
        "measures": [summarize(measure, rounds) for measure in measures],
        "runs": bench.log,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="compare-", dir=options.work_dir) as folder:
            results = compare(options, Path(folder).resolve())
    except (ComparisonError, OSError, subprocess.CalledProcessError) as error:
        print(f"compare.py: {error}", file=sys.stderr)
        return 1
    if options.results:
        options.results.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print_table(results["measures"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
