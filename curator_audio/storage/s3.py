"""Where S3's options and credentials come from."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from curator_audio.errors import ConfigurationError

SECRET = re.compile(r"key|secret|password|token|credential|authorization", re.IGNORECASE)
SOURCE_PROTOCOL = "s3+source"
"""The protocol of objects in a second store, which a run reads from while its own is that of ``s3://``."""
REQUESTS_AT_ONCE = 32
OPTIONS = {"endpoint_url", "region", "verify", "anon"}


def check_no_secrets(options: Mapping[str, Any]) -> None:
    """Refuse secrets among options: they would stand in the shell's history and in every list of processes.

    Raises:
        ConfigurationError: there is one.
    """
    for name, value in options.items():
        if isinstance(value, Mapping):
            check_no_secrets(value)
        if SECRET.search(str(name)) and value != "anon":  # gcsfs' way to public buckets
            raise ConfigurationError(
                f"storage_options has '{name}': secrets belong in the environment "
                "(S3_ACCESS_KEY and S3_SECRET_KEY, or the variables of your store's own client)"
            )


def s3_arguments(options: Mapping[str, Any], is_source: bool = False) -> dict[str, Any]:
    """The arguments of ``s3fs.S3FileSystem`` for our storage options and the environment.

    Credentials come from ``S3_ACCESS_KEY`` and ``S3_SECRET_KEY``, else from wherever AWS's own clients
    find them (``AWS_ACCESS_KEY_ID``, profiles, instance roles). Those of ``s3+source://`` come from
    ``SOURCE_S3_ACCESS_KEY`` and ``SOURCE_S3_SECRET_KEY`` instead, its endpoint from ``SOURCE_S3_ENDPOINT_URL``.

    Args:
        options: ``endpoint_url``, ``region``, ``anon``, and ``verify`` (the path of a CA bundle, or False to
            leave TLS certificates unchecked); and the same under ``source`` for ``s3+source://``.
        is_source: whether they are wanted for ``s3+source://``.

    Raises:
        ConfigurationError: an option that does not exist or does not fit.

    Example:
        >>> s3_arguments({"endpoint_url": "http://127.0.0.1:9000"})["client_kwargs"]["endpoint_url"]
        'http://127.0.0.1:9000'
    """
    source = options.get("source") or {}
    prefix, place = ("SOURCE_", "storage_options.source") if is_source else ("", "storage_options")
    if not isinstance(source, Mapping):
        raise ConfigurationError(f"storage_options.source is {source!r}; give a mapping such as {{region: eu-west-1}}")
    options = source if is_source else {name: value for name, value in options.items() if name != "source"}
    if unknown := set(options) - OPTIONS:
        raise ConfigurationError(f"{place}.{min(unknown)} is not known; there are {', '.join(sorted(OPTIONS))}")
    client: dict[str, Any] = {}
    endpoint = options.get("endpoint_url") or os.environ.get(f"{prefix}S3_ENDPOINT_URL")
    if endpoint:
        if not str(endpoint).startswith(("http://", "https://")):
            raise ConfigurationError(f"endpoint_url is {endpoint!r}; give a URL such as https://host:9000")
        client["endpoint_url"] = endpoint
    if options.get("region"):
        client["region_name"] = options["region"]
    verify = options.get("verify")
    if verify is not None:
        if not isinstance(verify, bool) and not (isinstance(verify, str) and os.path.exists(verify)):
            raise ConfigurationError(f"{place}.verify is {verify!r}; give true, false or the path of a CA bundle")
        client["verify"] = os.path.abspath(verify) if isinstance(verify, str) else verify
    arguments: dict[str, Any] = {
        "client_kwargs": client,
        "config_kwargs": {
            "retries": {"total_max_attempts": 4, "mode": "standard"},
            "connect_timeout": 10,
            "max_pool_connections": REQUESTS_AT_ONCE,
        },
        "use_listings_cache": False,
        "anon": bool(options.get("anon", False)),
    }
    if endpoint:  # stores other than AWS's may keep the checksum that follows the content as part of it
        arguments["config_kwargs"] |= dict.fromkeys(
            ("request_checksum_calculation", "response_checksum_validation"), "when_required"
        )
    key, secret = os.environ.get(f"{prefix}S3_ACCESS_KEY"), os.environ.get(f"{prefix}S3_SECRET_KEY")
    if key and secret:
        arguments |= {"key": key, "secret": secret}
    return arguments


def without_expectation(params: dict[str, Any], **_: Any) -> None:
    """Send a file at once, not after the store has agreed to take it: a silent one would be waited for without end."""
    params["headers"].pop("Expect", None)


def with_bucket(path: str) -> str:
    """``s3:///prefix`` with the bucket of ``S3_BUCKET_NAME`` filled in; other paths as they are."""
    if not path.startswith("s3:///") and path != "s3://":
        return path
    bucket = os.environ.get("S3_BUCKET_NAME")
    if not bucket:
        raise ConfigurationError(f"{path} names no bucket; write s3://bucket/… or set S3_BUCKET_NAME")
    return f"s3://{bucket}/{path.removeprefix('s3://').lstrip('/')}"
