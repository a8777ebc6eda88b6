"""The command line: ``python main.py``, ``curator-audio`` and ``python -m curator_audio`` do the same."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from curator_audio.errors import ConfigurationError, CuratorError
from curator_audio.modules import look_in
from curator_audio.report.ascii import print_in_ascii_where_needed
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
  %(prog)s --list
  %(prog)s --show segment
"""


DEFAULT_PIPELINE = "pipeline"
LIST_PARAMETERS = ("channels", "columns", "tags")


def command() -> NoReturn:
    """Run ``main`` as a process of its own, and end with its status whatever signals come meanwhile."""
    print_in_ascii_where_needed()
    try:
        status = main()
        sys.stdout.flush()
    except KeyboardInterrupt:  # a second one, while the first was reported
        status = 1
    except BrokenPipeError:  # the reader of the output has ended, as "| head" does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    ignore_signals()
    sys.exit(status)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a pipeline; return the exit status: 0 done, 1 something failed, 2 the command is wrong."""
    log_plainly()
    options = argparse.Namespace(overwrite=False)
    try:
        options, overrides = _parse(arguments)
        with stoppable():
            if options.check is not None:
                return _check(options.check, overrides)
            if options.list or options.show:
                return _tell(options.show, options.config_path, overrides)
            if options.cfg:
                return _print_config(options.config_name or DEFAULT_PIPELINE, options.config_path, overrides)
            if options.config_name is None and not overrides:
                return _tell_what_can_be_run()
            return _run(options, overrides)
    except CuratorError as error:
        may_go_on = options.overwrite and error.exit_status == 1
        hint = "; to keep what is done, leave out overwrite=true" if may_go_on else ""
        print(f"error: {error}{hint}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print(f"stopped; {_again(options)} to go on where it was", file=sys.stderr)
        return 1


def _tell(name: str | None, config_path: str | None, overrides: Sequence[str]) -> int:
    """Print the pipelines, or the parameters of one."""
    from curator_audio.pipeline.config import pipelines_folder, pipelines_in
    from curator_audio.report.catalogue import offer_list, parameter_list, pipeline_list

    if overrides:
        raise ConfigurationError(f"'{overrides[0]}' is not for --list or --show; leave it out")
    if name is None:
        print("\n\n".join(filter(None, (pipeline_list(pipelines_in(config_path)), offer_list()))))
    else:
        print(parameter_list(pipelines_in(config_path, name), name, pipelines_folder()))
    return 0


def _tell_what_can_be_run() -> int:
    from curator_audio.pipeline.config import pipelines_folder
    from curator_audio.report.catalogue import pipeline_list

    print(
        f"{DESCRIPTION}\n\n{pipeline_list(pipelines_folder())}\n\n"
        "Run one with --config-name NAME key=value …, see its parameters with --show NAME, and all options with --help."
    )
    return 0


def _print_config(name: str, config_path: str | None, overrides: Sequence[str]) -> int:
    from omegaconf import OmegaConf

    from curator_audio.pipeline.config import composed

    print(OmegaConf.to_yaml(composed(name, config_path, overrides)), end="")
    return 0


def _check(path: str, overrides: Sequence[str]) -> int:
    from curator_audio.pipeline.config import load_config
    from curator_audio.storage.connection import check_connection

    for override in overrides:
        if not override.startswith("storage_options."):
            raise ConfigurationError(f"'{override}' is not for --check; give it storage_options.… only")
    config = load_config("pipeline", None, ["manifest_path=none", *overrides])
    print(f"ok: {check_connection(path, _mapping(config, 'storage_options'))}")
    return 0


def _again(options: argparse.Namespace) -> str:
    """Return how to run once more without losing finished work."""
    if options.overwrite:
        return "leave out overwrite=true (which begins from nothing) and run the same command"
    return "run the same command again"


def _run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    from curator_audio.pipeline.config import build_executor, build_pipeline, load_config

    # A stage of one's own is found beside its YAML and in the current folder; an installed module goes first.
    look_in(*(folder for folder in (options.config_path, ".") if folder))
    config = load_config(options.config_name or DEFAULT_PIPELINE, options.config_path, overrides)
    flags = {name: _flag(config, name) for name in ("overwrite", "dry_run")}
    options.overwrite = flags["overwrite"]
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
        from curator_audio.pipeline.run import RunOptions
        from curator_audio.report.dry_run import dry_run

        RunOptions(**run_options)  # which checks them
        dry = {name: run_options[name] for name in ("output_dir", "storage_options", "overwrite")}
        print(dry_run(pipeline, executor, **dry))
        return 0
    from curator_audio.report.summary import summary

    result = pipeline.run(executor, progress=True, **run_options)
    print(summary(result))
    if result.failures:
        again = f"{_again(options)} to try them again"
        print(f"error: {len(result.failures)} partition(s) failed; {again}", file=sys.stderr)
    if not (result.num_output_records or result.failures or result.quarantined):
        print("warning: the output is empty; the counts of the stages above tell why", file=sys.stderr)
    if result.is_all_bad:
        print("error: every record was quarantined; see the reasons above", file=sys.stderr)
    return result.exit_status


def _parse(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    from curator_audio import __version__

    parser = argparse.ArgumentParser(
        description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-name", "-cn", help=f"the pipeline's name (default: {DEFAULT_PIPELINE})")
    parser.add_argument("--config-path", "-cp", help="the folder of a pipeline of your own")
    parser.add_argument(
        "--check", metavar="URL", help="only check that a folder can be listed, read and written, or a file read"
    )
    parser.add_argument(
        "--list", action="store_true", help="print the pipelines, and what other packages add, a line each"
    )
    parser.add_argument("--show", metavar="NAME", help="print a pipeline's parameters, with defaults and meanings")
    parser.add_argument("--cfg", choices=["job"], help="print the composed configuration as YAML, and run nothing")
    parser.add_argument("--version", action="version", version=f"curator_audio {__version__}")
    parser.set_defaults(overwrite=False)  # until the configuration is read
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values to change")
    options, unknown = parser.parse_known_intermixed_args(arguments)
    if unknown:
        raise ConfigurationError(_not_an_option(unknown[0]))
    return options, options.overrides


def _not_an_option(argument: str) -> str:
    """Return what to write in place of an unknown option."""
    from curator_audio.pipeline.old_names import INSTEAD

    name, _, value = argument.lstrip("-").partition("=")
    name = name.replace("-", "_")
    if name in INSTEAD:
        return f"there is no option {argument}; use {INSTEAD[name]}"
    values = f"[{value}]" if name in LIST_PARAMETERS and not value.startswith("[") else value or "…"
    return f"there is no option {argument}; parameters are written without dashes: {name}={values}"


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
