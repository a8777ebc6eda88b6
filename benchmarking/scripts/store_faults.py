"""All pipelines that read or write a store, while the store fails in many ways: is anything wrong ever accepted?

    python benchmarking/scripts/store_faults.py --seeds 300

A moto server stands behind a proxy that shortens, cuts, delays, repeats and loses answers, ignores byte ranges, and
answers 429, 500 and 503, as a seed says. After each run the output must be, byte for byte, that of a good day; or the
run must have ended with one line, and the same command on a good day must give the same bytes. Prints a table, and
exits with 1 where a run did not hold.
"""

from __future__ import annotations

import argparse
import os
import sys
import urllib.request
from collections import Counter

from memory_benchmark import REPOSITORY

sys.path.insert(0, str(REPOSITORY))

from tests.storage.bad_days import JOBS, BadDays, Outcome
from tests.storage.servers import serving_moto

BUCKET = "bad-days"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=300, help="how many runs, shared among the pipelines in turn")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--job", choices=list(JOBS), action="append", help="only this one; may be given again")
    options = parser.parse_args()
    from curator_audio.executors import base
    from curator_audio.storage import patience

    patience.FIRST_WAIT_SEC, base.RETRY_PAUSES_SEC = 0.005, (0.0, 0.0)
    os.environ |= {"S3_ACCESS_KEY": "k", "S3_SECRET_KEY": "s"}
    jobs = options.job or [name for name, job in JOBS.items() if job.can_run]
    outcomes: list[Outcome] = []
    with serving_moto() as endpoint:
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")).close()
        days = BadDays(endpoint, f"s3://{BUCKET}")
        for seed in range(options.first, options.first + options.seeds):
            job = jobs[seed % len(jobs)]
            try:
                outcomes.append(days.outcome(job, seed))
            except AssertionError as error:
                outcomes.append(Outcome(job, seed, "WRONG", str(error)))
            last = outcomes[-1]
            print(f"{seed:4} {job:24} {last.result}{f': {last.line}' if last.line else ''}", flush=True)
    print_table(outcomes)
    return int(any(outcome.result == "WRONG" for outcome in outcomes))


def print_table(outcomes: list[Outcome]) -> None:
    results = sorted({outcome.result for outcome in outcomes}, reverse=True)
    print(f"\n{'':24}" + "".join(f"{result:>40}" for result in results))
    for job in JOBS:
        counts = Counter(outcome.result for outcome in outcomes if outcome.job == job)
        if counts:
            print(f"{job:24}" + "".join(f"{counts[result]:40}" for result in results))
    faults = sum((outcome.faults for outcome in outcomes), Counter[str]())
    print(
        f"\n{len(outcomes)} runs, {sum(faults.values())} faults: "
        + ", ".join(f"{n} {f}" for f, n in sorted(faults.items()))
    )


if __name__ == "__main__":
    sys.exit(main())
