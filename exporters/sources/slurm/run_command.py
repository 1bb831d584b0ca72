"""Run a client command with a time limit and a size limit, and say clearly what went wrong."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence

from exporters.sources.base import SourceError

CHUNK = 1 << 20
STDERR_LIMIT = 4096
"""Bytes of the command's own words that an error repeats."""


class TooLargeError(SourceError):
    """The command printed more than its limit."""


def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    timeout: float,
    max_bytes: int,
    mend: str = "",
) -> bytes:
    """Run ``command`` (no shell) and return all that it printed.

    ``environment`` is added to this process's own. Raises `SourceError` when the program is missing, exits non-zero,
    takes longer than ``timeout`` seconds, or (`TooLargeError`) prints more than ``max_bytes``; in the last two cases it
    is killed, with whatever it started. The message names the command, its exit code, its words and ``mend``.
    """
    words = " ".join(command)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    except OSError as error:
        where = "is it installed on this host, and in PATH?"
        raise SourceError(_sentence(f"cannot run {command[0]!r} ({error.strerror}): {where}", mend)) from error
    with process:
        try:
            out, err = _communicate(process, time.monotonic() + timeout, max_bytes)
        except TimeoutError:
            _kill(process)
            raise SourceError(
                _sentence(f"{words!r} did not finish within {timeout:g} s and was killed", mend)
            ) from None
        except OverflowError:
            _kill(process)
            raise TooLargeError(
                _sentence(f"{words!r} printed more than {max_bytes} bytes and was killed", mend)
            ) from None
        except BaseException:
            _kill(process)
            raise
    if process.returncode != 0:
        how = f"exit code {process.returncode}" if process.returncode > 0 else f"signal {-process.returncode}"
        said = " ".join(err.decode(errors="replace").split()) or "nothing"
        raise SourceError(_sentence(f"{words!r} ended with {how} and said: {said}", mend))
    return out


def _communicate(process: subprocess.Popen[bytes], deadline: float, max_bytes: int) -> tuple[bytes, bytes]:
    """Both outputs whole; TimeoutError past ``deadline``, OverflowError past ``max_bytes``."""
    assert process.stdout is not None  # noqa: S101 - both are pipes, made above
    assert process.stderr is not None  # noqa: S101
    out, err = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, out)
        selector.register(process.stderr, selectors.EVENT_READ, err)
        while selector.get_map():
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            for key, _ in selector.select(remaining):
                data = os.read(key.fd, CHUNK)
                if not data:
                    selector.unregister(key.fileobj)
                elif key.data is out:
                    out += data
                else:
                    err += data[: STDERR_LIMIT - len(err)]
            if len(out) > max_bytes:
                raise OverflowError
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    return bytes(out), bytes(err)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the command's own session: a wrapper (ssh, sudo) must not leave its child behind."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _sentence(what: str, mend: str) -> str:
    return f"{what}. {mend}" if mend else what
