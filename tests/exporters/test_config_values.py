"""The values of settings: durations, sizes, and secrets that are never shown."""

from __future__ import annotations

import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.config import Config, ConfigError, parse
from exporters.config.values import seconds, size
from exporters.masking import masked

# secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://meter:s3cret@db.example/ledger", "postgresql+psycopg://meter:***@db.example/ledger"),
        ("postgresql+psycopg://meter:s3c@ret@db/ledger", "postgresql+psycopg://meter:***@db/ledger"),
        ("postgresql+psycopg://meter:s3c/r@et@db/ledger", "postgresql+psycopg://meter:***@db/ledger"),
        ("postgresql://:s3cret@db/ledger", "postgresql://:***@db/ledger"),
        (
            "postgresql://db/l?user=meter&password=s3cret&sslmode=require",
            "postgresql://db/l?user=meter&password=***&sslmode=require",
        ),
        ("postgresql://meter@db/ledger", "postgresql://meter@db/ledger"),
        ("sqlite:////var/lib/meterbridge/ledger.db", "sqlite:////var/lib/meterbridge/ledger.db"),
    ],
)
def test_a_password_is_masked_wherever_the_ledgers_url_is_shown(url: str, shown: str) -> None:
    config = parse(f"ledger: {{url: '{url}'}}")

    assert config.ledger is not None
    assert url == config.ledger.url
    for text in (repr(config), str(config), repr(config.ledger), str(config.ledger), f"{config.ledger}"):
        assert shown in text
        assert ("s3c" in url) == ("***" in text)
        assert "s3c" not in text


@pytest.mark.parametrize(
    "text",
    [
        "ledger: {url: 'mysql://meter:s3cret@db/x'}",
        "ledger: {url: postgresql://meter:s3cret@db/x: y}",
        "ledger: {url: 'sqlite:///x', gap: s3cret@}",
    ],
)
def test_no_error_and_no_traceback_prints_the_ledgers_url(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(text)

    assert "meter:s3cret" not in "".join(traceback.format_exception(refused.value))


def test_not_even_the_validators_own_error_prints_what_was_given() -> None:
    with pytest.raises(ValueError, match=r"ledger\.url") as refused:
        Config.model_validate({"ledger": {"url": "mysql://meter:s3cret@db/x"}})

    assert "s3cret" not in str(refused.value)


@given(st.text(st.characters(codec="utf-8", exclude_characters="@"), min_size=1))
def test_no_password_survives_masking(password: str) -> None:
    assert "postgresql://meter:***@db/ledger" == masked(f"postgresql://meter:{password}@db/ledger")


# values


@given(st.integers(0, 400), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_a_duration_is_the_sum_of_its_parts(d: int, h: int, m: int, s: int) -> None:
    assert d * 86_400 + h * 3600 + m * 60 + s == seconds(f"{d}d{h}h{m}m{s}s")


@pytest.mark.parametrize(
    ("text", "value"), [("1", 1), ("10B", 10), ("2KiB", 2048), ("64 MiB", 64 << 20), ("1GiB", 1 << 30)]
)
def test_a_size_has_a_binary_unit_or_none(text: str, value: int) -> None:
    assert value == size(text)


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse("").site = "other"
