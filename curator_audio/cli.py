"""The command line: ``python main.py``, ``curator-audio`` and ``python -m curator_audio`` are the same."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from curator_audio.errors import ConfigurationError, CuratorError
from curator_audio.modules import look_in
from curator_audio.report.log import log_plainly
from curator_audio.stopping import ignore_signals, stoppable

DESCRIPTION = "Turn recordings into training data for audio language models."
EPILOG = """\
examples:
  %(prog)s --config-name pipeline manifest_path=manifest.jsonl output_dir=out
  %(prog)s --config-name pipeline manifest_path=s3://bucket/manifests/ output_dir=s3://bucket/out executor=ray_data
  %(prog)s --config-name pipeline manifest_path=manifest.jsonl stages.1.min_speakers=3 dry_run=true
  %(prog)s --config-path my/pipelines --config-name mine manifest_path=manifest.jsonl
  %(prog)s --check s3://bucket/out storage_options.endpoint_url=https://host:9000
"""


def command() -> NoReturn:
    """``main`` as a process of its own, which ends with its status whatever signals come by then."""
    try:
        status = main()
    except KeyboardInterrupt:  # while it told that it was stopped
        status = 1
    ignore_signals()
    sys.exit(status)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a pipeline; returns the exit status: 0 done, 1 something failed, 2 the command is wrong."""
    options, overrides = _parse(arguments)
    log_plainly()
    try:
        with stoppable():
            if options.check is not None:
                return _check(options.check, overrides)
            return _run(options.config_name, options.config_path, overrides)
    except CuratorError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on where it was", file=sys.stderr)
        return 1


def _check(path: str, overrides: Sequence[str]) -> int:
    from curator_audio.pipeline.config import load_config
    from curator_audio.storage.connection import check_connection

    for override in overrides:
        if not override.startswith("storage_options."):
            raise ConfigurationError(f"'{override}' is not for --check; give it storage_options.… only")
    config = load_config("pipeline", None, ["manifest_path=none", *overrides])
    print(f"ok: {check_connection(path, _mapping(config, 'storage_options'))}")
    return 0


def _run(config_name: str, config_path: str | None, overrides: Sequence[str]) -> int:
    from curator_audio.pipeline.config import build_executor, build_pipeline, load_config

    # A stage of one's own is found beside its YAML and in the current folder, where nothing of its name is installed.
    look_in(*(folder for folder in (config_path, ".") if folder))
    config = load_config(config_name, config_path, overrides)
    flags = {name: _flag(config, name) for name in ("overwrite", "dry_run")}
    executor = build_executor(config)
    pipeline = build_pipeline(config)
    run_options: dict[str, Any] = {
        "output_dir": config.get("output_dir", pipeline.default_output_dir()),
        "on_error": str(config.get("on_error", "quarantine")),
        "overwrite": flags["overwrite"],
        "storage_options": _mapping(config, "storage_options"),
        "scratch_budget_gb": config.get("scratch_budget_gb"),
    }
    if not isinstance(run_options["output_dir"], str) or not run_options["output_dir"]:
        raise ConfigurationError(f"output_dir is {run_options['output_dir']!r}; give a folder")
    if flags["dry_run"]:
        from curator_audio.report.dry_run import dry_run

        dry = {name: run_options[name] for name in ("output_dir", "storage_options", "overwrite")}
        print(dry_run(pipeline, executor, **dry))
        return 0
    from curator_audio.report.summary import summary

    result = pipeline.run(executor, progress=True, **run_options)
    print(summary(result))
    if result.failures:
        again = "run the same command again to try them again"
        print(f"error: {len(result.failures)} partition(s) failed; {again}", file=sys.stderr)
    if not (result.num_output_records or result.failures or result.quarantined):
        print("warning: the output is empty; what the stages counted tells why", file=sys.stderr)
    if result.is_all_bad:
        print("error: every record was quarantined; see the reasons above", file=sys.stderr)
    return result.exit_status


def _parse(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    from curator_audio import __version__

    parser = argparse.ArgumentParser(
        description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-name", "-cn", default="pipeline", help="the pipeline's name (default: pipeline)")
    parser.add_argument("--config-path", "-cp", help="the folder of a pipeline of your own")
    parser.add_argument(
        "--check", metavar="URL", help="only say whether a folder can be listed, read and written, or a file read"
    )
    parser.add_argument("--version", action="version", version=f"curator_audio {__version__}")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values to change")
    options = parser.parse_intermixed_args(arguments)
    return options, options.overrides


def _flag(config: dict[str, Any], name: str) -> bool:
    value = config.get(name, False)
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name} is {value!r}; give true or false")
    return value


def _mapping(config: dict[str, Any], name: str) -> dict[str, Any]:
    value = config.get(name) or {}
    if not isinstance(value, dict):
        raise ConfigurationError(f"{name} is {value!r}; give a mapping such as {{endpoint_url: http://host:9000}}")
    return value
