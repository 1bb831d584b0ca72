"""Settings: one YAML file, strict. An unknown key is an error that names the key and the nearest valid one.

Durations are Prometheus' (``15s``, ``5m``, ``2h``, ``1d``), sizes are ``64MiB``; secrets come from files or the
environment, never from here. Every key is documented in docs/configure.md, held by a test.
"""

from __future__ import annotations

import difflib
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from exporters.projects import ProjectMap, ProjectMapError, ProjectRule
from exporters.settingvalues import Command, Duration, Price, Size, masked
from exporters.strictyaml import YamlError, read


class ConfigError(Exception):
    """The settings cannot be used. The message names the key, what is wrong with it and how to mend it."""


class Section(BaseModel):
    """A part of the settings: strict and frozen."""

    # an error's text must not print what was given: it may be a URL with a password
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class SlurmHistory(Section):
    """``sacct``: what the scheduler's own accounting says was true."""

    enabled: bool = True
    sacct: Command = ("sacct",)
    sacctmgr: Command = ("sacctmgr",)
    interval: Duration = 300.0
    window: Duration = 86_400.0
    overlap: Duration = 7_200.0
    since: date | None = None
    timeout: Duration = 600.0


class SlurmLive(Section):
    """``squeue`` and ``scontrol``: what runs now, and on which cards."""

    enabled: bool = True
    squeue: Command = ("squeue",)
    scontrol: Command = ("scontrol",)
    interval: Duration = 15.0
    timeout: Duration = 30.0


class SlurmCluster(Section):
    """One Slurm cluster. ``cluster`` is its ClusterName; ``environment`` is added to the client commands' own."""

    cluster: str = Field(min_length=1)
    environment: dict[str, str] = {}
    history: SlurmHistory = SlurmHistory()
    live: SlurmLive = SlurmLive()


class KubernetesCluster(Section):
    """One Kubernetes cluster. Without ``kubeconfig`` the service account of the own pod is used."""

    cluster: str = Field(min_length=1)
    kubeconfig: Path | None = None
    context: str | None = None
    interval: Duration = 15.0
    hold_from: Literal["scheduled", "started"] = "scheduled"
    slurm_clusters: dict[str, str] = {}
    resume_file: Path | None = None


class DcgmDiscovery(Section):
    """Find dcgm-exporter pods of a Kubernetes cluster by label."""

    cluster: str
    selector: str = "app.kubernetes.io/name=dcgm-exporter"
    port: int = Field(default=9400, gt=0, lt=65536)


class Dcgm(Section):
    """dcgm-exporter endpoints: a list, or discovered from pods, or both."""

    targets: tuple[str, ...] = ()
    discover: DcgmDiscovery | None = None
    interval: Duration = 15.0
    timeout: Duration = 5.0
    concurrency: int = Field(default=64, gt=0)
    max_response: Size = 16 << 20


class MachineRules(Section):
    """Which node names are the same machine where neither Slinky's labels nor the nodes themselves say so.

    ``names`` maps ``slurm/<cluster>/<node>`` and ``kubernetes/<cluster>/<node>`` to machines.
    """

    match: Literal["short_name", "full_name"] = "short_name"
    names: dict[str, str] = {}


class Project(Section):
    """Who pays: Slurm accounts and Kubernetes namespaces or labels, while ``valid_from <= day < valid_to``."""

    project: str = Field(min_length=1)
    accounts: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    valid_from: date | None = None
    valid_to: date | None = None


class Ledger(Section):
    """Where the ledger is kept. Without it the exporter is live only."""

    url: str
    gap: Duration = 120.0
    settle: Duration = 86_400.0

    @field_validator("url")
    @classmethod
    def _known_kind(cls, url: str) -> str:
        if not re.match(r"sqlite:///|postgresql(\+psycopg)?://", url):
            raise ValueError("the ledger is sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE")
        return url

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        """Mask the password in every repr and log."""
        return [("url", masked(self.url)), ("gap", self.gap), ("settle", self.settle)]


class Rates(Section):
    """A price per GPU model and hour, exact decimals. ``default`` prices the models that are not listed."""

    currency: str = Field(default="EUR", pattern=r"^[A-Z]{3}$")
    gpu_hour: dict[str, Price] = {}
    default: Price | None = None


class Web(Section):
    """Where `/metrics` is served. TLS and basic auth come in Prometheus' own web-config file."""

    listen: str = "127.0.0.1:9810"
    config_file: Path | None = None


class Service(Section):
    """The accounting service: its listener, its tokens, and how often it ingests and reconciles."""

    listen: str = "127.0.0.1:9811"
    config_file: Path | None = None
    tokens_file: Path | None = None
    interval: Duration = 900.0


class Config(Section):
    """The whole file."""

    site: str = "site"
    time_zone: str = "UTC"
    slurm: tuple[SlurmCluster, ...] = ()
    kubernetes: tuple[KubernetesCluster, ...] = ()
    dcgm: Dcgm | None = None
    machines: MachineRules = MachineRules()
    gpu_models: dict[str, tuple[str, ...]] = {}
    projects: tuple[Project, ...] = ()
    link_grace: Duration = 120.0
    join_interval: Duration = 15.0
    job_linger: Duration = 300.0
    ledger: Ledger | None = None
    rates: Rates = Rates()
    web: Web = Web()
    service: Service = Service()

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as e:
            raise ValueError(f"{value!r} is not a time zone: write it like UTC or Europe/Zurich") from e
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        known = {"slurm": [c.cluster for c in self.slurm], "kubernetes": [c.cluster for c in self.kubernetes]}
        for kind, names in known.items():
            twice = sorted({n for n in names if names.count(n) > 1})
            if twice:
                raise ValueError(f"{kind}: cluster {', '.join(twice)} is listed twice; each needs its own name")
        if self.dcgm and self.dcgm.discover and self.dcgm.discover.cluster not in known["kubernetes"]:
            found = known["kubernetes"]
            raise ValueError(f"dcgm.discover.cluster {self.dcgm.discover.cluster!r} is none of kubernetes: {found}")
        for node in self.machines.names:
            kind, _, rest = node.partition("/")
            cluster, _, name = rest.partition("/")
            if cluster not in known.get(kind, ()) or not name:
                every = " or ".join(f"{k}/{c}/NODE" for k, clusters in known.items() for c in clusters)
                raise ValueError(
                    f"machines.names: {node!r} names no node of a cluster here: {every or 'there is none'}"
                )
        spelled: dict[str, str] = {}
        for own, spellings in self.gpu_models.items():
            for text in dict.fromkeys(s.lower() for s in (own, *spellings)):
                if spelled.setdefault(text, own) != own:
                    raise ValueError(f"gpu_models: {text!r} is both {spelled[text]!r} and {own!r}")
        return self

    @property
    def model_names(self) -> dict[str, str]:
        """Every spelling of a GPU model -> the site's own name, from ``gpu_models``."""
        names = {own: own for own in self.gpu_models}
        names.update({s: own for own, spellings in self.gpu_models.items() for s in spellings})
        return names | {k.lower(): v for k, v in names.items()}

    def project_map(self) -> ProjectMap:
        """The project map, checked for overlaps. Raises `ConfigError`."""

        def moment(day: date | None) -> int | None:
            return None if day is None else int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())

        rules = []
        for p in self.projects:
            valid = (moment(p.valid_from), moment(p.valid_to))
            rules += [ProjectRule(p.project, "account", a, *valid) for a in p.accounts]
            rules += [ProjectRule(p.project, "namespace", n, *valid) for n in p.namespaces]
            rules += [ProjectRule(p.project, "label", f"{k}={v}", *valid) for k, v in p.labels.items()]
        try:
            return ProjectMap.of(rules)
        except ProjectMapError as e:
            raise ConfigError(f"projects: {e}") from e


def load(path: Path) -> Config:
    """Read settings from a file. Raises `ConfigError` with one line per thing that is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: cannot be read: {e}") from e
    return parse(text, str(path))


def parse(text: str, name: str = "config") -> Config:
    """Settings from YAML text; ``name`` is how errors call it. Raises `ConfigError`."""
    try:
        data = read(text)
    except YamlError as e:
        raise ConfigError(f"{name}: not valid YAML: {e}") from None
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(f"{name}: must be a mapping of keys, not a {type(data).__name__}")
    try:
        config = Config.model_validate(data)
        config.project_map()
    except ValidationError as e:
        raise ConfigError("\n".join(f"{name}: {_sentence(error)}" for error in e.errors())) from None
    except ConfigError as e:
        raise ConfigError(f"{name}: {e}") from None
    return config


_PLAIN = {
    "missing": "is required",
    "tuple_type": "must be a list, like [a, b]",
    "dict_type": "must be a mapping of keys",
    "model_type": "must be a mapping of keys",
    "string_type": "must be text: put a number in quotes",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
}
"""What pydantic says in Python's words, in YAML's."""


def _sentence(error: Any) -> str:
    """One validation error for people: where, what, and the nearest valid key for an unknown one."""
    where = ".".join(str(p) for p in error["loc"] if p != "[key]") or "the file"
    if error["type"] != "extra_forbidden":
        return f"{where}: {_PLAIN.get(error['type']) or error['msg'].removeprefix('Value error, ')}"
    key = str(error["loc"][-1])
    valid = sorted(_section(error["loc"][:-1]).model_fields)
    near = difflib.get_close_matches(key, valid, n=1, cutoff=0.5)
    return f"{where}: unknown key" + (f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(valid)}")


def _section(loc: tuple[Any, ...]) -> type[Section]:
    """The section class at a location of the file."""
    here: type[Section] = Config
    for part in loc:
        if isinstance(part, str) and part in here.model_fields:
            kind = here.model_fields[part].annotation
            inner = [a for a in (kind, *get_args(kind)) if isinstance(a, type) and issubclass(a, Section)]
            here = inner[0] if inner else here
    return here
