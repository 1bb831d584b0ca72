"""Settings: one YAML file, strict. An unknown key is an error that names the key and the nearest valid one.

Durations are Prometheus' (``15s``, ``5m``, ``2h``, ``1d``), sizes are ``64MiB``; secrets come from files or the
environment, never from here. Every key is documented in docs/configure.md, held by a test.
"""

from __future__ import annotations

from exporters.config.kubernetes import KubernetesCluster
from exporters.config.reading import load, parse
from exporters.config.section import ConfigError, Section
from exporters.config.slurm import SlurmCluster
from exporters.config.whole import Config

__all__ = ["Config", "ConfigError", "KubernetesCluster", "Section", "SlurmCluster", "load", "parse"]
