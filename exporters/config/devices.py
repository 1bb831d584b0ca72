"""Settings of the device side: which endpoints are read for cards."""

from __future__ import annotations

from pydantic import Field

from exporters.config.section import Section
from exporters.settingvalues import Duration, Size


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
