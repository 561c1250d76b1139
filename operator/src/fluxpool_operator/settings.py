"""The operator's settings: one typed class, read from the environment and from flags.

Every field `name` is the variable `FLUXPOOL_OPERATOR_NAME` and the flag `--name`; a flag wins. A value that cannot be
used is a `SettingsError` of one line that names the variable. Flags and variables hold the same text: lists are
comma separated, maps are JSON objects.
"""

import json
from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AnyHttpUrl, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from fluxpool_operator.errors import SettingsError

ENVIRONMENT_PREFIX = "FLUXPOOL_OPERATOR_"


def _split_commas(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _parse_json(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(f"this is not JSON: {error}") from error


StringMap = Annotated[dict[str, str], NoDecode, BeforeValidator(_parse_json)]
NamespaceName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
NamespaceNames = Annotated[tuple[NamespaceName, ...], NoDecode, BeforeValidator(_split_commas)]
Duration = Annotated[str, Field(pattern=r"^([0-9]+(ms|[smh]))+$")]


class Settings(BaseSettings):
    """All settings, with the reason for each default that has one."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, env_ignore_empty=True, frozen=True, extra="forbid")

    namespaces: NamespaceNames = Field((), description="namespaces to serve, comma separated; empty: all of them")

    prometheus_url: AnyHttpUrl | None = Field(None, description="base URL of Prometheus; empty: nothing is measured")
    prometheus_token_file: Path | None = Field(None, description="file with a bearer token for Prometheus")
    prometheus_ca_file: Path | None = Field(None, description="PEM file of the CA to trust for Prometheus")
    prometheus_headers: StringMap = Field({}, description='further headers as JSON: {"X-Scope-OrgID": "team"}')
    prometheus_matchers: str = Field("", description='label matchers added to every query: cluster="a",env="prod"')

    # Knative decides every 2 s as well: no longer than any scrape interval worth having, and it costs next to nothing.
    scale_interval_seconds: float = Field(2.0, ge=0.1, le=300, description="how often the autoscaler looks")
    # Only a safety net, every change arrives as an event: five minutes bound the life of what an event missed.
    resync_seconds: float = Field(300.0, ge=5, le=86400, description="how often every pool is reconciled anyway")
    # Workers wait for the API server, not for the CPU; eight bring 200 new pools up within seconds.
    workers: int = Field(8, ge=1, le=64, description="how many pools are reconciled at the same time")

    inference_image: str = Field(min_length=1, description="image of inference pods without spec.template.image")
    inference_image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="pull policy of inference pods without spec.template.imagePullPolicy"
    )

    service_monitor: bool = Field(default=False, description="make a ServiceMonitor per pool, where that API exists")
    service_monitor_labels: StringMap = Field({}, description='its labels as JSON: {"release": "prometheus"}')
    service_monitor_interval: Duration = Field("5s", description="its scrape interval")

    log_format: Literal["json", "text"] = Field("json", description="json or text")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="lowest level that is logged")
    http_port: int = Field(8080, ge=1, le=65535, description="port of /healthz, /readyz and /metrics")


def add_flags(parser: ArgumentParser) -> None:
    """Give `parser` one flag per setting; absent flags leave no trace in the parsed namespace's non-None values."""
    group = parser.add_argument_group("settings", "each flag --a-b is also the variable FLUXPOOL_OPERATOR_A_B")
    for name, field in Settings.model_fields.items():
        default = "" if field.is_required() or field.default in (None, "", (), {}) else f" (default: {field.default})"
        help_text = f"{field.description}{default}".replace("%", "%%")
        group.add_argument(f"--{name.replace('_', '-')}", dest=name, metavar="VALUE", help=help_text)


def load(flags: Mapping[str, str | None]) -> Settings:
    """Read the settings from `flags` and the environment.

    Raises:
        SettingsError: a value cannot be used, or a required one is missing; one line that names the variables.
    """
    given = {name: text for name, text in flags.items() if name in Settings.model_fields and text is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]  # texts: pydantic parses them
    except ValidationError as error:
        raise SettingsError("; ".join(_describe(problem) for problem in error.errors())) from error


def _describe(problem: Mapping[str, object]) -> str:
    location = problem["loc"]
    name = str(location[0]) if isinstance(location, tuple) and location else ""
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "missing":
        return (
            f"{ENVIRONMENT_PREFIX}{name.upper()} is not set: it must be the {Settings.model_fields[name].description}"
        )
    return f"{ENVIRONMENT_PREFIX}{name.upper()}: {message[0].lower()}{message[1:]} (it is {problem['input']!r})"
