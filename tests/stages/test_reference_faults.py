"""When one cause ends a run, and when the others go on."""

from __future__ import annotations

import pickle

import pytest

from curator_audio.errors import CuratorError
from curator_audio.stages.reference_faults import ReferenceFault, SameCause


def scheme(name: str) -> ReferenceFault:
    return ReferenceFault("scheme_not_allowed", f"{name}://host/a.wav: no", f"scheme {name}")


NO_TEXT = ReferenceFault("invalid_path", "a NUL")
UNREACHABLE = ReferenceFault("unreachable_host", "https://host: no", "unreachable https://host", of_store=True)


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ([scheme("ftp")] * 20, "the first 20 references cannot be read, all for one reason: ftp://host/a.wav: no"),
        ([None] * 50 + [scheme("ftp")] * 50, "50 of 100 references cannot be read for one reason"),
        ([None, scheme("ftp")] * 60, "50 of 100 references"),
        ([None] * 300 + [scheme("ftp")] * 300, "300 of 600 references"),
        ([UNREACHABLE] * 3, "no reference can be read: https://host: no"),
    ],
)
def test_one_cause_for_all_ends_the_run(faults: list[ReferenceFault | None], message: str) -> None:
    with pytest.raises(CuratorError, match=message) as ended:
        told(faults)
    assert ended.value.exit_status == (1 if UNREACHABLE in faults else 2), "a host may be there another time"


@pytest.mark.parametrize(
    "faults",
    [
        [None] + [scheme("ftp")] * 49,
        [scheme("ftp")] * 19 + [None] * 200,
        [scheme("ftp")] * 10 + [scheme("zip")] * 10 + [None],
        [NO_TEXT] * 500,
        [None] * 201 + [scheme("ftp")] * 200,
        [scheme("ftp")] * 5,
        [UNREACHABLE] * 3 + [None],
        [],
    ],
)
def test_else_the_others_go_on(faults: list[ReferenceFault | None]) -> None:
    told(faults)


def test_too_few_to_end_the_run_are_told(warned: list[str]) -> None:
    told([scheme("ftp")] * 5 + [None])
    assert warned == []
    told([scheme("ftp")] * 5)
    assert warned == ["no reference can be read: ftp://host/a.wav: no"]


def told(faults: list[ReferenceFault | None]) -> None:
    same = SameCause()
    for fault in faults:
        same.add(fault)
    same.finish()


def test_a_fault_travels_between_processes() -> None:
    fault = pickle.loads(pickle.dumps(ReferenceFault("no_access", "why", "no_access s3://b", of_store=True)))
    assert (str(fault), fault.cause, fault.of_store) == ("no_access: why", "no_access s3://b", True)
