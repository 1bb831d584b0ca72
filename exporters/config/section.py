"""What every part of the settings is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from exporters.errors import EXIT_USAGE, OperatorError


class ConfigError(OperatorError):
    """The settings cannot be used. The message names the key, what is wrong with it and how to mend it."""

    exit_code = EXIT_USAGE


class Section(BaseModel):
    """A part of the settings: strict and frozen."""

    # an error's text must not print what was given: it may be a URL with a password
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
