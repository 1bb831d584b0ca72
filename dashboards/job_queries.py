"""What the Job board asks of Prometheus: the job that is chosen, its cards, its ports, and why it is slow."""

from __future__ import annotations

ID = "${job}(@.*)?"
"""As people type it (12345) and as it is (12345@1779996400), which tells a number that Slurm used twice."""

JOB = f'{{cluster=~"$cluster",job_id=~"{ID}"}}'
PORTS = f"on (node, device, port) group by (node, device, port) (meterbridge_rdma_port_job_info{JOB})"
CARDS = f"on (node, gpu) group by (node, gpu) (meterbridge_job_card_info{JOB})"


_KNOWN = 'last_over_time(meterbridge_job_info{cluster=~"$cluster",project=~"$project"}[$__range])'
_KEY = "scheduler, cluster, job_id"
CHOICES = (
    f"query_result(sort_desc({_KNOWN} * on ({_KEY}) group_left() sum by ({_KEY})"
    f" (increase(meterbridge_job_gpu_observed_seconds_total[$__range])) or {_KNOWN}))"
)
"""The jobs of the time shown, first the one of whose cards most is known."""


_BY_JOB = "max by (scheduler, cluster, job_id)"
STARTS = (
    f"{_BY_JOB} (meterbridge_job_gpus{JOB})"
    f" unless {_BY_JOB} (last_over_time(meterbridge_job_gpus{JOB}[1d] offset $__interval))"
)
"""The moment from which the job holds cards. It is seen again after an exporter's restart, which is no start."""

ENDS = f"{_BY_JOB} (meterbridge_job_final{JOB}) unless {_BY_JOB} (meterbridge_job_final{JOB} offset $__interval)"
"""The moment from which it holds none."""


def job_rate(name: str) -> str:
    """A counter of the job, per second."""
    return f"sum(rate(meterbridge_job_{name}_total{JOB}[$__rate_interval]))"


def in_range(name: str) -> str:
    """What a counter of the job grew by in the range shown."""
    return f"sum(increase(meterbridge_job_{name}_total{JOB}[$__range]))"


def port_rate(name: str) -> str:
    """A counter of the ports of the job's nodes, per second, by node."""
    return f"sum by (node) (rate(meterbridge_rdma_port_{name}_total[$__rate_interval]) * {PORTS})"


ACTIVE = (
    f"sum(rate(meterbridge_job_gpu_active_seconds_total{JOB}[10m]))"
    f" / sum(rate(meterbridge_job_gpu_observed_seconds_total{JOB}[10m]))"
)


def mean_of_cards(name: str) -> str:
    """A reading of the job's cards, on average."""
    return f"avg(meterbridge_card_{name} * {CARDS})"


def cards_by_node(name: str) -> str:
    """The same by node."""
    return f"avg by (node) (meterbridge_card_{name} * {CARDS})"


def busy_by_kind() -> str:
    """How busy each kind of core, and the memory, is on average."""
    kinds = (
        ("tensor cores", "tensor_active_ratio"),
        ("memory", "memory_active_ratio"),
        ("FP64 cores", "fp64_active_ratio"),
        ("FP32 cores", "fp32_active_ratio"),
        ("FP16 cores", "fp16_active_ratio"),
    )
    return " or ".join(f'label_replace({mean_of_cards(name)}, "kind", "{kind}", "", "")' for kind, name in kinds)


def alerts_about() -> str:
    """What fires about the job, and about its machines without naming a job: a lost machine, an NVSwitch."""
    return (
        "max by (alertname, severity, node) ("
        f'ALERTS{{alertstate="firing",job_id=~"{ID}"}} or (ALERTS{{alertstate="firing",job_id=""}}'
        f" and on (node) last_over_time(meterbridge_job_card_info{JOB}[15m])))"
        ' or on () label_replace(vector(0), "alertname", "none", "", "")'
    )


def why_it_is_slow() -> str:
    """What holds the job back now, in words; the value is how much of it."""
    power = cards_by_node("power_watts")
    reasons = f"floor(meterbridge_card_clock_event_reasons / 8) % 32 * {CARDS}"
    paused = f"max by (node) (rate(meterbridge_rdma_port_pause_received_seconds_total[5m]) * {PORTS})"
    quiet = f"sum(rate(meterbridge_rdma_port_receive_bytes_total[5m]) * {PORTS}) < 1e6"
    tensor = mean_of_cards("tensor_active_ratio")
    told = (
        ("its cards are idle: it waits for data, for the host or for a person", f"sum({ACTIVE}) < 0.5"),
        ("its cards work without tensor cores and its network is silent: it may stand still",
         f"(sum({ACTIVE}) > 0.5) and on () ({tensor} < 0.02) and on () ({quiet})"),
        ("one node falls behind: it draws less than the others",
         f"min({power}) / quantile(0.5, {power}) < 0.75"),
        ("cards are held back by heat, power or their hardware", f"avg(({reasons}) > bool 0) > 0"),
        ("the network pauses its ports", f"max({paused}) > 0.05"),
        ("packets are lost and sent again", f"sum(rate(meterbridge_job_rdma_retransmissions_total{JOB}[5m])) > 0"),
    )  # fmt: skip
    found = " or ".join(f'label_replace({expr}, "why", "{text}", "", "")' for text, expr in told)
    well = f'label_replace(sum(meterbridge_job_gpus{JOB}) * 0, "why", "nothing stands out", "", "")'
    over = 'label_replace(vector(0), "why", "it holds no cards now: the rows below show what was", "", "")'
    return f"{found} or on () {well} or on () {over}"
