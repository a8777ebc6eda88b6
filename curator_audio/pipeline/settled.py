"""What all files of an output share, such as columns: settled by the first run of a folder, and noted for others."""

from __future__ import annotations

from typing import Any

from loguru import logger

from curator_audio.errors import ConfigurationError
from curator_audio.ledger import Ledger
from curator_audio.pipeline.plan import Plan, check_kept


def settled(plan: Plan, ledger: Ledger, is_new: bool = False) -> tuple[Plan, Any]:
    """Return the plan with a writer that knows the columns, and what is to be noted of them; None where nothing is.

    A folder keeps those of its first run, wherever its records may differ since.

    Args:
        plan: what will run.
        ledger: of the output folder, loaded.
        is_new: whether what the folder holds is replaced.

    Raises:
        ConfigurationError: a field would be lost, the writer has a parameter that does not fit the fields, or what is
            noted is damaged.
    """
    if not plan.writer.looks_at_fields:
        return plan, None
    noted = None if is_new else ledger.schema()
    if noted is not None:
        plan = _with(plan, noted, ledger)
        _check_place(plan, ledger)
        return plan, None
    parts = [] if is_new else [part.path for entry in ledger.entries.values() for part in entry.parts]
    if parts and ledger.is_of_format_1:
        before = plan.writer.settled_before()
        if before is not None:
            logger.warning(
                f"{plan.writer.output_path} was begun by a version that wrote no further fields of records: what else "
                "they have is left out, so that all files have the same columns; overwrite=true takes it up"
            )
            return _with(plan, before, ledger), before
    looked = plan.looked_into()
    check_kept(looked)
    schema = plan.writer.settle(looked.fields_before_writer)
    if schema is None:
        return looked, None
    if not parts or ledger.is_of_format_1:
        return _with(looked, schema, ledger), schema
    schema = _of_a_file(plan, schema, parts, ledger)
    plan = _with(looked, schema, ledger)
    _check_place(plan, ledger)
    return plan, schema


def _of_a_file(plan: Plan, schema: Any, parts: list[str], ledger: Ledger) -> Any:
    """Return what was settled for the files that are there; the note of it is lost."""
    path = next(filter(ledger.storage.exists, map(ledger.absolute, parts)), None)
    try:
        found = None if path is None else plan.writer.settled_of(ledger.storage, path, schema)
    except ValueError:
        found = None
    if found is None:
        raise ConfigurationError(
            f"{ledger.paths.schema} is gone, which has the columns of the output, and no file there tells them; "
            "choose another output_dir, or overwrite=true"
        )
    logger.warning(f"{ledger.paths.schema} is gone, which has the columns of the output; they are taken from its files")
    return found


def _check_place(plan: Plan, ledger: Ledger) -> None:
    """Check that the columns of the first run have a place for what the source has now."""
    if plan.writer.keeps_any:
        return
    for name in plan.writer.lost(plan.looked_into().fields_before_writer):
        raise ConfigurationError(
            f"{ledger.paths.output_dir} has the columns of its first run, and none for '{name}', which comes now; "
            "choose another output_dir, or overwrite=true"
        )


def _with(plan: Plan, schema: Any, ledger: Ledger) -> Plan:
    try:
        return plan.with_writer(plan.writer.with_settled(schema))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ConfigurationError(
            f"{ledger.paths.schema} does not hold columns of '{plan.writer.name}'; choose another output_dir, or "
            "overwrite=true"
        ) from None
