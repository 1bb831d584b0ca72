"""What every room raises when the operator can mend it: one sentence, and an exit code that the command line documents.

The front door prints the sentence and exits with the code. Whatever else comes up is a fault of ours, and shows its
traceback.
"""

from __future__ import annotations

EXIT_BREACH = 1
EXIT_USAGE = 2
EXIT_UNREADABLE = 3


class OperatorError(Exception):
    """Something is not as it must be. The message names what, where and how to mend it; ``exit_code`` is the command's.

    A class of errors sets its code once; one error may have another.
    """

    exit_code = EXIT_UNREADABLE

    def __init__(self, message: str, exit_code: int | None = None) -> None:
        super().__init__(message)
        if exit_code is not None:
            self.exit_code = exit_code
