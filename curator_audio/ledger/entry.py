"""The entries of a ledger, and their form on disk."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from curator_audio.tasks import Input, Inputs, Part, Partition
from curator_audio.tasks.inputs import NOTHING, inputs_of_json

Made = TypeVar("Made")


@dataclass
class StageMetrics:
    """What one stage did: seconds, records in and out, what it logged itself, and what it left out of a recording.

    ``skipped`` has, by recording, how many pieces were left out, by reason; totals have none of it.
    """

    process_time: float = 0.0
    num_tasks: int = 0
    items_in: int = 0
    items_out: int = 0
    num_quarantined: int = 0
    custom: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def items_processed(self) -> int:
        """Records taken in; for a reader, which takes in none, records given out."""
        return self.items_in or self.items_out

    def add(self, other: StageMetrics) -> None:
        self.process_time += other.process_time
        self.num_tasks += other.num_tasks
        self.items_in += other.items_in
        self.items_out += other.items_out
        self.num_quarantined += other.num_quarantined
        for name, value in other.custom.items():
            self.custom[name] = self.custom.get(name, 0) + value


@dataclass
class LedgerEntry:
    """A finished partition: what it was made from, what came of it, and what the stages counted.

    A partition that is only started has one too, elsewhere: with the parts that may come of it.

    Args:
        partition: its name.
        source: the file it is a piece of, below the root of the source; empty for the root itself.
        start: the first byte of it.
        end: one past the last.
        inputs: what it was made from.
        parts: what was written.
        quarantine: the files of records that were set aside.
        quarantined: how many these are, by reason.
        metrics: what each stage did.
        is_cut: whether a limit had left out some of what belongs in the partition.
        made_with: the fingerprint of the configuration; where it is empty, it was that of the folder.
        format_1: what format 1 has in place of ``inputs``, until the source has met the partition; else nothing.
    """

    partition: str
    source: str
    start: int
    end: int
    inputs: Inputs
    parts: list[Part]
    quarantine: list[Part]
    quarantined: dict[str, int]
    metrics: dict[str, StageMetrics]
    made_with: str = ""
    is_cut: bool = False
    format_1: dict[str, str] = field(default_factory=dict)

    @property
    def num_records(self) -> int:
        return sum(part.num_records for part in self.parts)

    @property
    def order(self) -> tuple[str, int, str]:
        """By which entries are sorted, whatever the run that made them: by file, place in it, and name."""
        return self.source, self.start, self.partition

    @classmethod
    def started(
        cls, partition: Partition, source: str, part_path: str, quarantine_path: str, made_with: str = ""
    ) -> LedgerEntry:
        """What is known of a partition before a worker has it."""
        parts, quarantine = ([Part(path, 0, "", 0)] for path in (part_path, quarantine_path))
        inputs = Inputs.of(dict.fromkeys(partition.inputs, Input("")))
        return cls(
            partition.name, source, partition.start, 0, inputs, parts, quarantine, {}, {}, made_with, partition.is_cut
        )

    def to_json(self, place: tuple[str, int, int] | None = None) -> bytes:
        """Return the entry as a line.

        Args:
            place: where its inputs are, if not in the line: file, first byte, and how many bytes.
        """
        inputs: dict[str, Any] = {"num_inputs": self.inputs.num, "inputs_sha256": self.inputs.sha256}
        if place is None:
            inputs["inputs"] = self.inputs.unpacked()
        else:
            inputs["inputs_at"] = place
        values = dict(vars(self))
        values |= {name: [asdict(part) for part in values[name]] for name in ("parts", "quarantine")}
        values["metrics"] = {stage: asdict(metrics) for stage, metrics in self.metrics.items()}
        if not self.format_1:
            del values["format_1"]
        del values["inputs"]
        return as_json(values | inputs)

    @classmethod
    def from_json(cls, values: dict[str, Any], inputs: Inputs | None = None) -> LedgerEntry:
        """Return the entry of a line.

        Args:
            values: what is in it.
            inputs: those it was made from, if they are elsewhere.

        Raises:
            ValueError: it is damaged; also KeyError, TypeError or AttributeError.
        """
        values = dict(values)
        given, num, sha256 = (values.pop(name, None) for name in ("inputs", "num_inputs", "inputs_sha256"))
        if inputs is None:
            inputs = Inputs.of(inputs_of_json(given))
        if (inputs.num, inputs.sha256) != (num, sha256):
            raise ValueError("its inputs are others")
        values["parts"] = [part_of_json(part) for part in values["parts"]]
        values["quarantine"] = [part_of_json(part) for part in values["quarantine"]]
        values["metrics"] = {name: StageMetrics(**metrics) for name, metrics in values["metrics"].items()}
        for metrics in values["metrics"].values():
            check_kinds(metrics, StageMetrics())
        return check_kinds(cls(**values, inputs=inputs), NO_ENTRY)


NO_PART = Part("", 0, "", 0)
NO_ENTRY = LedgerEntry("", "", 0, 0, NOTHING, [], [], {}, {})


@dataclass(frozen=True)
class PartSource:
    """Where the bytes of a part lie: a file of their own, or a range of a joined one."""

    path: str
    start: int
    num_bytes: int


@dataclass
class StepEntry:
    """A finished step after the map: what it took in, what it wrote, and where in that each part went."""

    inputs_sha256: str
    outputs: list[Part]
    ranges: dict[str, tuple[int, int]] = field(default_factory=dict)

    def to_json(self) -> bytes:
        return as_json(asdict(self))

    @classmethod
    def from_json(cls, data: bytes) -> StepEntry:
        values = json.loads(data)
        ranges = {name: (int(start), int(num_bytes)) for name, (start, num_bytes) in values["ranges"].items()}
        return cls(values["inputs_sha256"], [part_of_json(part) for part in values["outputs"]], ranges)


def as_json(values: Any, indent: int | None = None) -> bytes:
    """JSON in UTF-8; what of a file name is no text (a lone surrogate in Python) is escaped."""
    separators = (",", ":") if indent is None else None
    return json.dumps(values, indent=indent, ensure_ascii=False, separators=separators).encode(
        errors="backslashreplace"
    )


def part_of_json(values: dict[str, Any]) -> Part:
    """Return a part that an entry names; flags of format 1 are left to ``format_1``."""
    known = {name: value for name, value in values.items() if name not in ("replaces_source", "is_copy")}
    return check_kinds(Part(**known), NO_PART)


def check_kinds(made: Made, like: Made) -> Made:
    """Return what was made of JSON, if every value is of the kind of the one in its place; whole numbers are floats."""
    names = like.__dataclass_fields__  # type: ignore[attr-defined]
    for name in names:
        value = getattr(like, name)
        kinds = (int, float) if isinstance(value, float) else type(value)
        if not isinstance(getattr(made, name), kinds):
            raise ValueError(f"{name} is of another kind")
    return made


def relative_to(folder: str, path: str) -> str:
    """``path`` without ``folder`` in front where it lies below it, else as it is.

    Example:
        >>> relative_to("s3://bucket/out", "s3://bucket/out/a/b.jsonl")
        'a/b.jsonl'
    """
    prefix = folder.rstrip("/") + "/"
    return path.removeprefix(prefix) if path.startswith(prefix) and len(path) > len(prefix) else path


def sha256_of(values: Any) -> str:
    """The hash of anything JSON can hold."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
