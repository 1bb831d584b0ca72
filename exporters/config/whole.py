"""The whole file, and what must fit together in it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from exporters.config.devices import Dcgm, DcgmDiscovery, Devices, PortDiscovery, Rdma
from exporters.config.kubernetes import KubernetesCluster
from exporters.config.listeners import Service, Web
from exporters.config.payers import Ledger, MachineRules, Project, Rates, Statements
from exporters.config.section import ConfigError, Section
from exporters.config.slurm import SlurmCluster
from exporters.config.values import Duration
from exporters.join.projects import ProjectMap, ProjectMapError, ProjectRule


class Config(Section):
    """The whole file."""

    site: str = "site"
    time_zone: str = "UTC"
    slurm: tuple[SlurmCluster, ...] = ()
    kubernetes: tuple[KubernetesCluster, ...] = ()
    devices: Devices = Devices()
    dcgm: Dcgm | None = None
    rdma: Rdma | None = None
    machines: MachineRules = MachineRules()
    gpu_models: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    projects: tuple[Project, ...] = ()
    link_grace: Duration = 120.0
    join_interval: Duration = 15.0
    job_linger: Duration = 300.0
    max_jobs: int = Field(default=50_000, gt=0)
    ledger: Ledger | None = None
    rates: Rates = Rates()
    statements: Statements = Statements()
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
        for key, wanted in self._discoveries().items():
            if wanted.cluster not in known["kubernetes"]:
                raise ValueError(f"{key}.cluster {wanted.cluster!r} is none of kubernetes: {known['kubernetes']}")
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

    def _discoveries(self) -> dict[str, DcgmDiscovery | PortDiscovery]:
        """Every search for pods that the settings ask for, by its key."""
        found = {
            "dcgm.discover": self.dcgm and self.dcgm.discover,
            "rdma.node_exporters.discover": self.rdma and self.rdma.node_exporters.discover,
            "rdma.agents.discover": self.rdma and self.rdma.agents.discover,
        }
        return {key: wanted for key, wanted in found.items() if wanted}

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
            bound = frozenset(p.label_namespaces)
            rules += [ProjectRule(p.project, "label", f"{k}={v}", *valid, bound) for k, v in p.labels.items()]
        try:
            return ProjectMap.of(rules)
        except ProjectMapError as e:
            raise ConfigError(f"projects: {e}") from e
