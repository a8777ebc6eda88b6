"""Steps that need all parts of a run at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from curator_audio.ledger import Ledger, LedgerEntry
from curator_audio.pipeline.plan import Plan
from curator_audio.storage.storage import Storage
from curator_audio.tasks import Partition


@dataclass(frozen=True)
class AfterContext:
    """What a step is given.

    Args:
        plan: the plan that was run.
        entries: the finished partitions in input order.
        ledger: where the parts are, and where the step notes what it did.
        storage: the files of the run.
    """

    plan: Plan
    entries: list[LedgerEntry]
    ledger: Ledger
    storage: Storage


class AfterStep(ABC):
    """A step after the map; it is run when all partitions are done, and skipped when its inputs have not changed."""

    name: str = ""
    makes_single_file: ClassVar[bool] = False
    """Whether it puts the parts together where the writer's output is one file, so that no other step need do it."""

    def check(self, plan: Plan) -> None:  # noqa: B027 most steps can follow any plan
        """Raise ConfigurationError if the step cannot follow this plan."""

    def output_places(self, plan: Plan) -> list[str]:
        """The files, and folders with all below them, that it writes outside of the run's output.

        What a ledger names elsewhere is never deleted.
        """
        return []

    def check_ready(self) -> None:  # noqa: B027 most steps need nothing more
        """Raise ConfigurationError if something is missing that the step needs to run, and a dry run does not."""

    def preview(self, context: AfterContext, pending: Sequence[Partition]) -> str:
        """What it would do, in some lines, without doing it; nothing where that is plain.

        Args:
            context: the finished partitions, those of the run that is not done yet missing.
            pending: these.
        """
        return ""

    @abstractmethod
    def run(self, context: AfterContext) -> None:
        """Do it, and note it in the ledger; must be skipped inside if the ledger says it is done."""
