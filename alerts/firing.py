"""When an alert would have been pending and firing: Prometheus' own rule, on the answers to a range query. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, order=True)
class Episode:
    """One alert, from the first evaluation that found its condition to the first that did not (epoch seconds).

    ``fired`` is None when it never lasted as long as its rule wants; ``ended`` is None when it still held at the end.
    """

    since: float
    alert: str
    severity: str
    labels: Labels
    fired: float | None
    ended: float | None


def episodes(
    rule: Mapping[str, object],
    found: Iterable[tuple[Labels, Sequence[float]]],
    steps: Sequence[float],
    lasting: float,
    kept: float = 0.0,
) -> list[Episode]:
    """The episodes of one rule.

    ``found`` tells for each series at which of the evaluations ``steps`` the condition held; ``lasting`` is the rule's
    ``for`` and ``kept`` its ``keep_firing_for``, in seconds. An alert fires at the first evaluation that is ``lasting``
    or more after the one that found it, and starts anew after any evaluation that did not; one that fires ends only
    when nothing was found for as long as it is ``kept``.
    """
    following = dict(zip(steps, [*steps[1:], None], strict=True))
    severity = str(dict(rule["labels"])["severity"]) if isinstance(rule["labels"], Mapping) else ""
    done = []
    for labels, times in found:
        held = sorted(times)
        runs: list[list[float]] = []
        for at in held:
            if runs and following[runs[-1][-1]] == at:
                runs[-1].append(at)
            else:
                runs.append([at])
        own: list[Episode] = []
        for run in runs:
            before = own[-1] if own else None
            if before and before.fired is not None and (before.ended is None or run[0] < before.ended):
                own[-1] = replace(before, ended=_ended(following[run[-1]], steps, kept))  # it still fires
                continue
            fired = next((at for at in run if at - run[0] >= lasting), None)
            end = following[run[-1]]
            own.append(
                Episode(
                    run[0],
                    str(rule["alert"]),
                    severity,
                    labels,
                    fired,
                    end if fired is None else _ended(end, steps, kept),
                )
            )
        done += own
    return done


def _ended(missed: float | None, steps: Sequence[float], kept: float) -> float | None:
    """The evaluation that ends what fires: the first that is ``kept`` or more after the first that found nothing."""
    return None if missed is None else next((at for at in steps if at - missed >= kept), None)
