"""Check what the tests of a run said when they were skipped, and name the files in which they stand.

    python3 .ci/skipped.py REPORT [EXTRA …]

REPORT is what pytest's ``--junitxml`` wrote. A test may be skipped for an extra of those named here, for a program
that is not there, or for what the machine does not allow. Prints the files of tests skipped for an extra, one a line;
what else was skipped is an error.
"""

from __future__ import annotations

import re
import shutil
import sys
import xml.etree.ElementTree as ElementTree

NEEDS = re.compile(r"needs (the extra|the program|a machine on which) (\S+)")


def main(report: str, extras: list[str]) -> int:
    """Print the files; returns the exit status."""
    files: set[str] = set()
    wrong: list[str] = []
    num_tests = num_skipped = 0
    for case in ElementTree.parse(report).iter("testcase"):
        num_tests += 1
        skipped = case.find("skipped")
        if skipped is None:
            continue
        num_skipped += 1
        message = f"{skipped.get('message', '')} {skipped.text or ''}".strip()
        kind, name = found.groups() if (found := NEEDS.search(message)) else ("", "")
        if kind == "the extra" and name in extras:
            files.add(_file_of(f"{case.get('classname') or case.get('name')}"))
        elif kind == "a machine on which" or (kind == "the program" and not shutil.which(name)):
            print(f"skipped: {found[0] if found else ''}: {case.get('name')}", file=sys.stderr)
        else:
            wrong.append(f"{case.get('classname')}.{case.get('name')}: {message[:200]}")
    allowed = f" (extras that are missing here: {', '.join(extras)})" if extras else " (all extras are here)"
    print(f"{num_tests} tests, {num_skipped} skipped{allowed}", file=sys.stderr)
    for line in wrong:
        print(f"skipped without need: {line}", file=sys.stderr)
    print("\n".join(sorted(files)))
    return 1 if wrong or not num_tests else 0


def _file_of(classname: str) -> str:
    """The file of a test, whose class name is its path with dots."""
    parts = classname.split(".")
    last = max((index for index, part in enumerate(parts) if part.startswith("test_")), default=len(parts) - 1)
    return "/".join(parts[: last + 1]) + ".py"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
