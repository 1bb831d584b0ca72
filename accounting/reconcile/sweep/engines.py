"""Where parts are swept: in this process, in a pool of processes, or on a Dask cluster. The answer is the same."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, Literal, Protocol, TypeVar

from accounting.processes import end_with_parent

In = TypeVar("In")
Out = TypeVar("Out")

EngineName = Literal["one", "pool", "dask"]


class Engine(Protocol):
    """Something that works."""

    def map(self, function: Callable[[In], Out], items: Iterable[In]) -> Iterator[Out]:
        """The results in the order of the items, which are taken only a little ahead of the results."""
        ...


class One:
    """The process that asks."""

    def map(self, function: Callable[[In], Out], items: Iterable[In]) -> Iterator[Out]:
        """One after the other."""
        return map(function, items)


class Ahead:
    """Workers behind ``submit``, which returns what has a ``result()``; at most ``ahead`` items are on their way."""

    def __init__(self, submit: Callable[..., Any], ahead: int) -> None:
        self.submit, self.ahead = submit, ahead

    def map(self, function: Callable[[In], Out], items: Iterable[In]) -> Iterator[Out]:
        """Several at a time; results wait for their turn."""
        pending: deque[Any] = deque()
        for item in items:
            pending.append(self.submit(function, item))
            if len(pending) > self.ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


@contextmanager
def engine(name: EngineName, *, workers: int = 0, scheduler: str = "") -> Iterator[Engine]:
    """Start an engine, and stop what was started.

    ``workers`` are processes of a pool (0: one per processor). ``scheduler`` is the address of a Dask scheduler. Raises
    `ValueError` for an unknown name or a missing address, and `ModuleNotFoundError` when the extra is not installed.
    """
    if name == "one":
        yield One()
    elif name == "pool":
        with ProcessPoolExecutor(workers or None, get_context("spawn"), end_with_parent) as pool:
            yield Ahead(pool.submit, 2 * _workers(pool))
    elif name == "dask":
        with _dask(scheduler) as ahead:
            yield ahead
    else:
        raise ValueError(f"no engine {name!r}; there are one, pool and dask")


def _workers(pool: Executor) -> int:
    return int(getattr(pool, "_max_workers", 1))


@contextmanager
def _dask(scheduler: str) -> Iterator[Engine]:
    if not scheduler:
        raise ValueError("the engine dask needs the address of a scheduler, such as tcp://host:8786")
    try:
        import dask  # noqa: PLC0415 - an extra
        from distributed import Client  # noqa: PLC0415
    except ModuleNotFoundError as problem:
        raise ModuleNotFoundError("the engine dask needs an extra: pip install 'meterbridge[dask]'") from problem
    # a part travels within its task, so that it can go to another worker when one is lost
    size = {"distributed.admin.large-graph-warning-threshold": "1GiB"}
    with dask.config.set(size), Client(scheduler) as client:  # type: ignore[no-untyped-call]

        def submit(function: Callable[[In], Out], item: In) -> Any:
            return client.submit(function, item, pure=False)

        yield Ahead(submit, 2 * max(1, sum(client.nthreads().values())))
