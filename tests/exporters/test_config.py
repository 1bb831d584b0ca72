"""Settings: strict, exact, and every error says which key is wrong and how to mend it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from exporters.config import Config, ConfigError, load, parse
from exporters.model import Job, JobKey, Scheduler

WHOLE = """
site: example
time_zone: Europe/Zurich
slurm:
  - cluster: hpc1
    environment: {SLURM_CONF: /etc/slurm/slurm.conf}
    history: {sacct: [ssh, head, sacct], interval: 10m, window: 1d, overlap: 1h30m, since: 2026-10-01}
    live: {enabled: false, interval: 500ms}
kubernetes:
  - cluster: prod
    context: prod-admin
    hold_from: started
    slurm_clusters: {slinky: hpc1}
dcgm:
  targets: [http://gn01:9400/metrics]
  discover: {cluster: prod, port: 9401}
  max_response: 16 MiB
rdma:
  node_exporters: {targets: ["http://gn01:9100/metrics"]}
  agents: {discover: {cluster: prod}}
  lossless_priorities: [3, 4]
machines:
  match: full_name
  names: {slurm/hpc1/h100-001: gn01, kubernetes/prod/k01: gn01}
gpu_models:
  H100: [NVIDIA-H100-80GB-HBM3, h100]
projects:
  - {project: vision, accounts: [vis], namespaces: [vision], labels: {team: vision}, valid_to: 2026-11-01}
  - {project: seeing, accounts: [vis], valid_from: 2026-11-01}
ledger: {url: "sqlite:////var/lib/meterbridge/ledger.db", gap: 5m}
rates: {currency: CHF, gpu_hour: {H100: 2.10}, default: 1}
"""


def refusal(text: str) -> str:
    """What is said about settings that cannot be used."""
    with pytest.raises(ConfigError) as refused:
        parse(text)
    return str(refused.value)


# what is read


def test_an_empty_file_is_a_valid_config() -> None:
    assert Config() == parse("") == parse("# nothing yet\n")


def test_every_section_is_read() -> None:
    config = parse(WHOLE)

    assert ("ssh", "head", "sacct") == config.slurm[0].history.sacct
    assert (600.0, 86_400.0, 5_400.0) == tuple(
        getattr(config.slurm[0].history, k) for k in ("interval", "window", "overlap")
    )
    assert (False, 0.5) == (config.slurm[0].live.enabled, config.slurm[0].live.interval)
    assert config.dcgm is not None
    assert config.dcgm.discover is not None
    assert (16 << 20, 9401) == (config.dcgm.max_response, config.dcgm.discover.port)
    assert config.rdma is not None
    assert config.rdma.agents.discover is not None
    assert (9812, (3, 4)) == (config.rdma.agents.discover.port, config.rdma.lossless_priorities)
    assert config.ledger is not None
    assert 300.0 == config.ledger.gap


def test_a_command_may_be_one_word() -> None:
    assert ("/opt/slurm/bin/sacct",) == parse("slurm: [{cluster: a, history: {sacct: /opt/slurm/bin/sacct}}]").slurm[
        0
    ].history.sacct


def test_every_spelling_of_a_model_leads_to_the_sites_own_name() -> None:
    assert {
        "H100": "H100",
        "h100": "H100",
        "NVIDIA-H100-80GB-HBM3": "H100",
        "nvidia-h100-80gb-hbm3": "H100",
    } == parse(WHOLE).model_names


def test_projects_are_valid_from_and_to_midnight() -> None:
    projects = parse(WHOLE).project_map()
    job = Job(JobKey(Scheduler.SLURM, "hpc1", "18"), "18", "18", "t", "alice", "vis", "gpu")

    assert ["vision", "seeing"] == [projects.project(job, t) for t in (1_793_491_199, 1_793_491_200)]


@pytest.mark.parametrize("price", ["2.10", "0.1", "1e-3", "0.1234567890123456789", "7", "1_000.25"])
def test_a_price_is_exactly_what_was_written(price: str) -> None:
    rates = parse(f"rates: {{default: {price}, gpu_hour: {{h100: {price}}}}}").rates

    assert str(Decimal(price)) == str(rates.default) == str(rates.gpu_hour["h100"])


def test_a_price_in_quotes_is_the_same_price() -> None:
    assert Decimal("2.10") == parse("rates: {default: '2.10'}").rates.default


def test_settings_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "meterbridge.yaml"
    path.write_text(WHOLE, encoding="utf-8")

    assert parse(WHOLE) == load(path)


# what is refused, and in which words


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("slurmm: []", "config: slurmm: unknown key; did you mean slurm?"),
        ("slurm: [{cluster: a, histroy: {}}]", "config: slurm.0.histroy: unknown key; did you mean history?"),
        (
            "slurm: [{cluster: a}, {cluster: b, live: {intervall: 5s}}]",
            "config: slurm.1.live.intervall: unknown key; did you mean interval?",
        ),
        ("kubernetes: [{cluster: a, contxt: x}]", "config: kubernetes.0.contxt: unknown key; did you mean context?"),
        ("dcgm: {target: []}", "config: dcgm.target: unknown key; did you mean targets?"),
        ("dcgm: {discover: {cluster: a, prt: 1}}", "config: dcgm.discover.prt: unknown key; did you mean port?"),
        ("machines: {xyzzy: 1}", "config: machines.xyzzy: unknown key; known here: match, names"),
        ("projects: [{project: a, acounts: []}]", "config: projects.0.acounts: unknown key; did you mean accounts?"),
        ("ledger: {url: 'sqlite:///x', urll: x}", "config: ledger.urll: unknown key; did you mean url?"),
        ("rates: {curency: EUR}", "config: rates.curency: unknown key; did you mean currency?"),
        ("web: {lissten: x}", "config: web.lissten: unknown key; did you mean listen?"),
        ("service: {tokens: x}", "config: service.tokens: unknown key; did you mean tokens_file?"),
    ],
)
def test_an_unknown_key_names_the_nearest_valid_one(text: str, said: str) -> None:
    assert said == refusal(text)


def test_everything_that_is_wrong_is_said_one_thing_a_line() -> None:
    said = refusal("slurmm: []\nlink_grace: soon\nsite: 5")

    assert ["config: site: ", "config: link_grace: ", "config: slurmm: "] == [
        line[: line.index(": ", 8) + 2] for line in said.splitlines()
    ]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("5 sec", "'5 sec' is not a duration: write it like 15s, 5m, 1h30m or 1d"),
        ("'-5s'", "'-5s' is not a duration: write it like 15s, 5m, 1h30m or 1d"),
        ("''", "'' is not a duration: write it like 15s, 5m, 1h30m or 1d"),
        ("'15'", "'15' is not a duration: write it like 15s, 5m, 1h30m or 1d"),
        ("1.5h", "'1.5h' is not a duration: write it like 15s, 5m, 1h30m or 1d"),
        ("0s", "Input should be greater than 0"),
        ("-5", "Input should be greater than 0"),
        ("true", "a number is expected here, not true or false"),
        (".inf", "Input should be a finite number"),
        (".nan", "Input should be greater than 0"),
        ("[5]", "Input should be a valid number"),
    ],
)
def test_a_bad_duration_says_how_to_write_it(value: str, why: str) -> None:
    assert f"config: link_grace: {why}" == refusal(f"link_grace: {value}")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("5GB", "'5GB' is not a size: write it like 64MiB"),
        ("-1MiB", "'-1MiB' is not a size: write it like 64MiB"),
        ("0MiB", "Input should be greater than 0"),
        ("false", "a number is expected here, not true or false"),
        ("1.5", "Input should be a valid integer, got a number with a fractional part"),
    ],
)
def test_a_bad_size_says_how_to_write_it(value: str, why: str) -> None:
    assert f"config: dcgm.max_response: {why}" == refusal(f"dcgm: {{max_response: {value}}}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "config: must be a mapping of keys, not a list"),
        ("meterbridge", "config: must be a mapping of keys, not a str"),
        ("slurm: {cluster: a}", "config: slurm: must be a list, like [a, b]"),
        ("slurm: [hpc1]", "config: slurm.0: must be a mapping of keys"),
        ("dcgm: 5", "config: dcgm: must be a mapping of keys"),
        ("machines: {names: [a]}", "config: machines.names: must be a mapping of keys"),
        ("projects: [{project: a, accounts: vis}]", "config: projects.0.accounts: must be a list, like [a, b]"),
        (
            "projects: [{project: a, accounts: [17]}]",
            "config: projects.0.accounts.0: must be text: put a number in quotes",
        ),
        ("projects: [{accounts: [x]}]", "config: projects.0.project: is required"),
        ("rates: {gpu_hour: {100: 2}}", "config: rates.gpu_hour.100: must be text: put a number in quotes"),
        ("rates: {default: -1}", "config: rates.default: Input should be greater than or equal to 0"),
        ("rates: {default: .inf}", "config: rates.default: Input should be a valid decimal"),
        ("rates: {currency: eur}", "config: rates.currency: String should match pattern '^[A-Z]{3}$'"),
        (
            "slurm: [{cluster: a, history: {sacct: ''}}]",
            "config: slurm.0.history.sacct.0: must not be empty",
        ),
        (
            "slurm: [{cluster: a, history: {sacct: []}}]",
            "config: slurm.0.history.sacct: must not be empty",
        ),
        ("machines: {match: short}", "config: machines.match: Input should be 'short_name' or 'full_name'"),
        (
            "time_zone: Mars/Olympus",
            "config: time_zone: 'Mars/Olympus' is not a time zone: write it like UTC or Europe/Zurich",
        ),
        ("time_zone: ''", "config: time_zone: '' is not a time zone: write it like UTC or Europe/Zurich"),
        (
            "time_zone: ../../etc/passwd",
            "config: time_zone: '../../etc/passwd' is not a time zone: write it like UTC or Europe/Zurich",
        ),
        (
            "ledger: {url: 'mysql://h/x'}",
            "config: ledger.url: the ledger is sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE",
        ),
        (
            "slurm: [{cluster: a}, {cluster: b}, {cluster: a}]",
            "config: the file: slurm: cluster a is listed twice; each needs its own name",
        ),
        (
            "kubernetes: [{cluster: a}, {cluster: a}]",
            "config: the file: kubernetes: cluster a is listed twice; each needs its own name",
        ),
        (
            "kubernetes: [{cluster: prod}]\ndcgm: {discover: {cluster: prd}}",
            "config: the file: dcgm.discover.cluster 'prd' is none of kubernetes: ['prod']",
        ),
        (
            "kubernetes: [{cluster: prod}]\nrdma: {agents: {discover: {cluster: prd}}}",
            "config: the file: rdma.agents.discover.cluster 'prd' is none of kubernetes: ['prod']",
        ),
        (
            "rdma: {lossless_priorities: [8]}",
            "config: rdma.lossless_priorities.0: Input should be less than or equal to 7",
        ),
        (
            "slurm: [{cluster: a}]\nmachines: {names: {slurm/b/n1: n1}}",
            "config: the file: machines.names: 'slurm/b/n1' names no node of a cluster here: slurm/a/NODE",
        ),
        (
            "slurm: [{cluster: a}]\nmachines: {names: {slurm/a/: n1}}",
            "config: the file: machines.names: 'slurm/a/' names no node of a cluster here: slurm/a/NODE",
        ),
        (
            "machines: {names: {n1: gn1}}",
            "config: the file: machines.names: 'n1' names no node of a cluster here: there is none",
        ),
        (
            "gpu_models: {H100: [x100], H200: [X100]}",
            "config: the file: gpu_models: 'x100' is both 'H100' and 'H200'",
        ),
        (
            "projects: [{project: a, accounts: [vis]}, {project: b, accounts: [vis]}]",
            (
                "config: projects: account 'vis' -> 'a' (… to …) and account 'vis' -> 'b' (… to …) overlap: give them "
                "validity dates that do not"
            ),
        ),
        (
            "projects: [{project: a, labels: {t: x}, valid_from: 2026-11-01, valid_to: 2026-10-01}]",
            (
                "config: projects: label 't=x' -> 'a' (2026-11-01 to 2026-10-01): valid_from is not before valid_to, "
                "so it never applies"
            ),
        ),
    ],
)
def test_what_cannot_be_used_says_where_and_why(text: str, said: str) -> None:
    assert said == refusal(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("site: a\nsite: b", "line 2, column 1: key site was given before, in line 1"),
        ("slurm:\n- {cluster: a, cluster: b}", "line 2, column 16: key cluster was given before, in line 2"),
        ("a: b: c", "line 1, column 5: mapping values are not allowed here"),
        ("x: *there", "line 1, column 4: found undefined alias 'there'"),
        ("? [a]\n: b", "line 1, column 3: found unhashable key"),
        (
            "projects: [{project: a, valid_from: 2026-13-45}]",
            "line 1, column 37: 2026-13-45 is not a date: month must be in 1..12",
        ),
        (
            "!!python/object:os.system {}",
            (
                "line 1, column 1: could not determine a constructor for the tag "
                "'tag:yaml.org,2002:python/object:os.system'"
            ),
        ),
        ("[" * 5000, "nested too deeply"),
    ],
)
def test_text_that_is_not_yaml_says_at_which_line(text: str, said: str) -> None:
    assert f"config: not valid YAML: {said}" == refusal(text)


def test_text_with_a_byte_that_yaml_refuses_says_so() -> None:
    assert "special characters are not allowed" in refusal("site: \x00")


def test_a_merged_key_may_be_given_again() -> None:
    text = "slurm:\n- &a {cluster: a, live: {enabled: false}}\n- {<<: *a, cluster: b}"

    assert [("a", False), ("b", False)] == [(c.cluster, c.live.enabled) for c in parse(text).slurm]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe")

    for path in (tmp_path / "none.yaml", tmp_path, binary):
        with pytest.raises(ConfigError) as refused:
            load(path)
        assert str(refused.value).startswith(f"{path}: cannot be read: ")


def test_errors_call_the_file_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "meterbridge.yaml"
    for text in ("sitte: x", "- x", "a: b: c", "projects: [{project: a, accounts: [x]}, {project: b, accounts: [x]}]"):
        path.write_text(text, encoding="utf-8")

        with pytest.raises(ConfigError) as refused:
            load(path)
        assert str(refused.value).startswith(f"{path}: ")
