"""Hypothesis strategies for node-days: short, dense days on one machine with everything that a site can do to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import strategies as st

from accounting.model import CapacityStretch, CoverageStretch, HoldingStretch, NodeDay
from exporters.model import Claim, LinkKey, Scheduler
from tests.exporters.records import bridged, lends, made_by, names_pod, pod, run, stands_in

START, END = 100, 124
GRACE = 2
MACHINE = "n1"
SIZES = (500, 1000, 2000)
SHARES = (142, 148)


def _span(draw: st.DrawFn) -> tuple[int, int | None]:
    """Any interval that has to do with the day: from before it, to after it, still open, or of no length."""
    start = draw(st.integers(START - 6, END + 3))
    return start, draw(st.one_of(st.none(), st.integers(start, END + 8)))


def _near(draw: st.DrawFn, around: Claim) -> tuple[int, int | None]:
    """An interval about that of another claim, give or take the grace and a little more."""
    start = max(0, around.start + draw(st.integers(-GRACE - 1, 3)))
    if around.end is None:
        return start, draw(st.one_of(st.none(), st.integers(start, END + 8)))
    return start, max(start, around.end + draw(st.integers(-3, GRACE + 1)))


@st.composite
def claims(draw: st.DrawFn, models: tuple[str, ...]) -> tuple[Claim, ...]:
    """Lenders, jobs in and beside them, requeues, bridged and made pods, true and false keys, plain pods, shares."""
    found: list[Claim] = []
    model: Callable[[], str] = lambda: draw(st.sampled_from(models))  # noqa: E731 - drawn anew each time
    size: Callable[[], int] = lambda: draw(st.sampled_from(SIZES))  # noqa: E731
    for n in range(draw(st.integers(0, 2))):
        cluster = draw(st.sampled_from(["hpc1", "hpc1", ""]))
        found.append(pod(f"worker-{n}", size(), *_span(draw), lends("n1-slurm", cluster), model=model()))
    jobs: list[Claim] = []
    for n in range(draw(st.integers(0, 4))):
        node = draw(st.sampled_from(["n1-slurm", "n1"]))
        number = draw(st.integers(1, 3))
        names = (names_pod("vision/named"),) if draw(st.integers(0, 2)) == 0 else ()
        jobs.append(run(number, size(), *_span(draw), *names, node=node, submit=n, model=model()))
    found += jobs
    for n in range(draw(st.integers(0, 5))):
        amount = draw(st.sampled_from(SIZES + SHARES))
        around = draw(st.sampled_from(jobs)) if jobs else None
        number = int(around.native_id) if around else 9
        keys: tuple[LinkKey, ...] = draw(
            st.sampled_from(
                [
                    (),
                    (bridged(number),),
                    (made_by(number),),
                    (made_by(number, ""),),
                    (made_by(number), bridged(draw(st.integers(1, 3)))),
                    (made_by(9),),
                    (made_by(number, "hpc2"),),
                    (stands_in(), made_by(number)),
                    (lends("inner"), made_by(number)),
                ]
            )
        )
        span = _near(draw, around) if around and draw(st.booleans()) else _span(draw)
        name = "named" if not keys and draw(st.booleans()) else f"pod-{n}"
        found.append(pod(name, amount, *span, *keys, model=model(), owner=f"w{n % 3}"))
        if draw(st.integers(0, 5)) == 0:  # a pod may hold more than one portion, each with an end of its own
            found.append(replace(found[-1], end=draw(st.integers(span[0], END + 8)), uuids=(f"GPU-{n}",)))
    return tuple(found)


@st.composite
def _named(draw: st.DrawFn, claim: Claim) -> Claim:
    """The claim as a record has it that tells its cards, by index (Slurm) or UUID, all of them or some."""
    if draw(st.integers(0, 2)) or not claim.milligpu:
        return claim
    cards = draw(st.lists(st.integers(0, 3), min_size=1, max_size=max(1, claim.milligpu // 1000), unique=True))
    if claim.job.scheduler is Scheduler.SLURM:
        return replace(claim, indices=tuple(cards))
    return replace(claim, uuids=tuple(f"GPU-{n}" for n in cards))


@st.composite
def holdings(draw: st.DrawFn, claims: tuple[Claim, ...]) -> tuple[HoldingStretch, ...]:
    """What was seen of some claims' cards: all or part of them, all day or part of it, now and then wrong."""
    found = []
    for claim in claims:
        if not claim.milligpu or draw(st.booleans()):
            continue
        whole = min(1000, claim.milligpu)
        most = max(1, claim.milligpu // 1000) + draw(st.sampled_from([0, 0, 0, 1]))
        for start, end in draw(_stretches()):
            for n in draw(st.lists(st.integers(0, 3), min_size=1, max_size=most, unique=True)):
                uuid = draw(st.sampled_from([f"GPU-{n}", f"GPU-{n}", "", "GPU-9"]))
                milligpu = draw(st.sampled_from([whole, whole, whole, whole // 2 or 1]))
                a, b = max(start, START), min(end, END)
                found.append(HoldingStretch(a, b, claim.job, claim.unit, n, uuid, milligpu))
    return tuple(found)


@st.composite
def _stretches(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Part of the day, in one or two stretches with or without a hole."""
    cuts = sorted(draw(st.lists(st.integers(START - 2, END + 2), min_size=2, max_size=4, unique=True)))
    whole = [(START - 2, END + 2)]
    return draw(st.sampled_from([whole, whole, list(zip(cuts[::2], cuts[1::2], strict=False))]))


@st.composite
def node_days(draw: st.DrawFn) -> NodeDay:
    """One machine, known to Slurm, to Kubernetes or to both, with one GPU model or two; cards known or not."""
    two = draw(st.booleans())
    names = ("h100", "a100") if two else ("h100",)
    capacity: list[CapacityStretch] = []
    coverage: list[CoverageStretch] = []
    for scheduler, cluster, node in ((Scheduler.SLURM, "hpc1", "n1-slurm"), (Scheduler.KUBERNETES, "prod", "n1")):
        if scheduler is Scheduler.KUBERNETES and draw(st.integers(0, 4)) == 0:
            continue
        for start, end in draw(_stretches()):
            up = draw(st.sampled_from([True, True, False]))
            if two and scheduler is Scheduler.SLURM:
                sizes = {"h100": 1000, "a100": 2000}
            elif two:
                sizes = {"": 3000}
            else:
                sizes = {draw(st.sampled_from(["h100", "", "nvidia"])): draw(st.sampled_from([0, 1000, 2000, 3000]))}
            for name, milligpu in sizes.items():
                capacity.append(
                    CapacityStretch(start, end, scheduler, cluster, node, name, milligpu, up, "" if up else "bad fan")
                )
        coverage += [CoverageStretch(a, b, scheduler, cluster) for a, b in draw(_stretches())]
    found = draw(claims((*names, "", "NVIDIA-H100")))
    cards_known = draw(st.booleans())
    if cards_known:
        found = tuple(draw(_named(claim)) for claim in found)
    until = {
        place: second
        for place in ((Scheduler.SLURM, "hpc1"), (Scheduler.KUBERNETES, "prod"))
        if (second := draw(st.sampled_from([None, None, END, START + 9]))) is not None
    }
    projects = tuple((c.job, f"p{n % 2}") for n, c in enumerate({c.job: c for c in found}.values()) if n % 3)
    known_until = tuple((*place, second) for place, second in until.items())
    seen = draw(holdings(found)) if cards_known else ()
    return NodeDay(MACHINE, START, END, found, tuple(capacity), tuple(coverage), projects, known_until, holdings=seen)
