"""Boards drawn without Grafana: layout, queries, data and the text of every number are real, the brush is ours.

    python -m tests.lab.draw OUT [light|dark|both] [WIDTH ...]

draws every board over the demo's month, as HTML and as a picture (Chromium), WIDTH pixels wide (1920). For eyes, and
for the README. Numbers are put into words by Grafana's own package (`tests.lab.grafana_data`): what a unit does to a
value is its own matter.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise, product
from pathlib import Path
from typing import Any

from dashboards.push import boards
from tests.lab.demo_prometheus import scraped_demo
from tests.lab.grafana import Answer, Reader, Series, panels
from tests.lab.grafana_data import filled, later
from tests.lab.servers import program

Point = tuple[float, float, float]
"""Time, and the lower and the upper edge of what is drawn there."""

ROW, GAP = 30, 8
NAMED = {
    "green": "#73bf69", "blue": "#5794f2", "yellow": "#f2cc0c", "red": "#f2495c", "purple": "#b877d9",
    "orange": "#ff9830", "text": "currentColor", "transparent": "none",
}  # fmt: skip
PALETTE = ("#73bf69", "#f2cc0c", "#8ab8ff", "#ff9830", "#f2495c", "#5794f2", "#b877d9", "#96d98d", "#fade2a", "#c0d8ff")
THEMES = {
    "dark": ("#111217", "#181b1f", "#ccccdc", "#2c3235"),
    "light": ("#f4f5f5", "#ffffff", "#24292e", "#dde4ed"),
}
_STYLE = """
body {{ margin: 8px; background: {0}; color: {2}; font: 12px Inter, Helvetica, sans-serif; position: relative }}
.p {{ position: absolute; background: {1}; border: 1px solid {3}; border-radius: 2px; overflow: hidden }}
.p, .row {{ box-sizing: border-box }}
.p h3 {{ margin: 5px 8px; font-size: 13px; font-weight: 500 }}
.row {{ position: absolute; font-size: 15px; font-weight: 600 }}
table {{ border-collapse: collapse; width: 100% }}
td, th {{ padding: 2px 6px; border-top: 1px solid {3}; text-align: left; white-space: nowrap }}
.big {{ font-size: 28px; text-align: center }} .legend {{ padding: 0 8px; white-space: nowrap; overflow: hidden }}
.bar {{ height: 14px; display: inline-block; vertical-align: middle }}
"""


def draw(board: Mapping[str, Any], reader: Reader, theme: str, wide: int = 1920) -> str:
    """A board as one HTML page, ``wide`` pixels wide."""
    column = (wide - 24) // 24
    chosen = reader.defaults(board, reader.choices(board))
    parts = []
    bottom = 0
    for panel in board["panels"]:
        box = panel["gridPos"]
        x, y, w, h = (
            box["x"] * column,
            40 + box["y"] * (ROW + GAP),
            box["w"] * column - GAP,
            box["h"] * (ROW + GAP) - GAP,
        )
        bottom = max(bottom, y + h)
        place = f"left:{x}px;top:{y}px;width:{w}px;height:{h}px"
        if panel["type"] == "row":
            parts.append(f'<div class="row" style="{place}">{escape(panel["title"])}</div>')
            continue
        answers = [reader.ask(target, chosen) for target in panel["targets"]]
        body = _PAINT[panel["type"]](panel, answers, w, h - 32)
        parts.append(f'<div class="p" style="{place}"><h3>{escape(panel["title"])}</h3>{body}</div>')
    head = f"<style>{_STYLE.format(*THEMES[theme])}</style>"
    names = ", ".join(f"{k} = {v}" for k, v in chosen.items())
    title = f"<b style='font-size:16px'>{escape(board['title'])}</b> &nbsp; {escape(names)}"
    return filled(
        f"<!doctype html><meta charset=utf-8>{head}<body style='height:{bottom + 20}px'>{title}{''.join(parts)}"
    )


def _legend(template: str, labels: Mapping[str, str]) -> str:
    if template == "__auto":
        return ", ".join(v for k, v in labels.items() if k != "__name__") or "value"
    for key, value in labels.items():
        template = template.replace(f"{{{{{key}}}}}", value)
    return template


def _named(panel: Mapping[str, Any], answers: Sequence[Answer]) -> list[tuple[str, Series]]:
    return [
        (_legend(target.get("legendFormat", ""), series[0]), series)
        for target, answer in zip(panel["targets"], answers, strict=True)
        for series in answer.series
    ]


def _colour(panel: Mapping[str, Any], name: str, number: int) -> str:
    for override in panel["fieldConfig"]["overrides"]:
        if override["matcher"]["options"] == name:
            for p in override["properties"]:
                if p["id"] == "color":
                    return NAMED.get(p["value"]["fixedColor"], p["value"]["fixedColor"])
    return PALETTE[number % len(PALETTE)]


def _lines(panel: Mapping[str, Any], answers: Sequence[Answer], width: int, height: int) -> str:
    named = _named(panel, answers)
    if not named:
        return '<div class="big">No data</div>'
    custom = panel["fieldConfig"]["defaults"].get("custom", {})
    stacked = custom.get("stacking", {}).get("mode") == "normal"
    unit = panel["fieldConfig"]["defaults"].get("unit", "short")
    legend = min(len(named), 5) * 15
    inner_w, inner_h = width - 70, height - legend - 22
    times = sorted({t for _, (_, points) in named for t, _ in points})
    below = dict.fromkeys(times, 0.0)
    shapes: list[tuple[str, list[Point]]] = []
    for n, (name, (_, points)) in enumerate(named):
        layer = []
        for t, v in points:
            base = below[t] if stacked else 0.0
            layer.append((t, base, base + v))
            if stacked:
                below[t] = base + v
        shapes.append((_colour(panel, name, n), layer))
    top = panel["fieldConfig"]["defaults"].get("max") or max((hi for _, s in shapes for *_, hi in s), default=1) or 1
    begin, long = times[0], max(times[-1] - times[0], 1)

    def at(t: float, v: float) -> str:
        return f"{60 + (t - begin) / long * inner_w:.1f},{5 + inner_h * (1 - min(v / top, 1)):.1f}"

    drawn = []
    for colour, layer in shapes:
        for piece in _pieces(layer):
            line = " ".join(at(t, hi) for t, _, hi in piece)
            if stacked:
                back = " ".join(at(t, lo) for t, lo, _ in reversed(piece))
                drawn.append(f'<polygon points="{line} {back}" fill="{colour}" fill-opacity="0.7"/>')
            else:
                drawn.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.2"/>')
    if custom.get("thresholdsStyle", {}).get("mode") == "dashed":
        for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]:
            if step["value"] is not None and step["value"] <= top:
                y = 5 + inner_h * (1 - step["value"] / top)
                drawn.append(
                    f'<line x1="60" x2="{60 + inner_w}" y1="{y:.0f}" y2="{y:.0f}" stroke-dasharray="6 4" '
                    f'stroke="{NAMED.get(step["color"], step["color"])}"/>'
                )
    for part in (0, 0.5, 1):
        y = 5 + inner_h * (1 - part)
        drawn.append(f'<text x="2" y="{y + 4:.0f}" fill="currentColor" font-size="10">{later(top * part, unit)}</text>')
        drawn.append(
            f'<line x1="60" x2="{60 + inner_w}" y1="{y:.0f}" y2="{y:.0f}" stroke="currentColor" opacity="0.15"/>'
        )
    words = "".join(
        f'<div class="legend"><span style="color:{_colour(panel, name, n)}">&#9644;</span> {escape(name)} '
        f"<span style='opacity:.6'>{later(points[-1][1], unit)} "
        f"(max {later(max(v for _, v in points), unit)})</span></div>"
        for n, (name, (_, points)) in enumerate(named[:5])
    )
    return f'<svg width="{width}" height="{inner_h + 12}">{"".join(drawn)}</svg>{words}'


def _pieces(layer: Sequence[Point]) -> Iterator[list[Point]]:
    """A line in pieces: nothing is drawn over missing data, as the boards ask for."""
    step = min((b[0] - a[0] for a, b in pairwise(layer)), default=0.0)
    piece: list[Point] = []
    for point in layer:
        if piece and point[0] - piece[-1][0] > 1.5 * step:
            yield piece
            piece = []
        piece.append(point)
    yield piece


def _stat(panel: Mapping[str, Any], answers: Sequence[Answer], width: int, height: int) -> str:
    del width, height
    defaults = panel["fieldConfig"]["defaults"]
    words = panel["options"].get("textMode") == "name"
    told = []
    for name, (_, points) in _named(panel, answers):
        last = points[-1][1]
        colour = "currentColor"
        for step in defaults["thresholds"]["steps"]:
            if step["value"] is None or last >= step["value"]:
                colour = NAMED.get(step["color"], step["color"])
        label = (
            f"<div style='font-size:13px'>{escape(name)}</div>"
            if not words and panel["targets"][0]["legendFormat"] != "__auto"
            else ""
        )
        text = escape(name) if words else later(last, defaults["unit"], defaults.get("decimals"))
        told.append(f'<div class="big" style="color:{colour}">{text}{label}</div>')
    return "".join(told) or f'<div class="big">{escape(defaults.get("noValue", "No data"))}</div>'


def _bars(panel: Mapping[str, Any], answers: Sequence[Answer], width: int, height: int) -> str:
    del height
    defaults = panel["fieldConfig"]["defaults"]
    named = [(name, points[-1][1]) for name, (_, points) in _named(panel, answers)]
    top = defaults.get("max") or max((v for _, v in named), default=1) or 1
    return "".join(
        f'<div class="legend"><div style="display:inline-block;width:130px">{escape(name)}</div>'
        f'<span class="bar" style="width:{v / top * (width - 260):.0f}px;background:#5794f2"></span> '
        f"{later(v, defaults['unit'], defaults.get('decimals'))}</div>"
        for name, v in named
    )


def _table(panel: Mapping[str, Any], answers: Sequence[Answer], width: int, height: int) -> str:
    del width
    organize = next(t["options"] for t in panel["transformations"] if t["id"] == "organize")
    settings: dict[str, dict[str, Any]] = {
        o["matcher"]["options"]: {p["id"]: p["value"] for p in o["properties"]}
        for o in panel["fieldConfig"]["overrides"]
    }
    usual = panel["fieldConfig"]["defaults"].get("unit", "short")
    columns = sorted(organize["indexByName"], key=organize["indexByName"].__getitem__)
    rows: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
    for target, answer in zip(panel["targets"], answers, strict=True):
        for labels, points in answer.series:
            shown = {k: v for k, v in labels.items() if k != "__name__"}
            name = "Value" if len(answers) == 1 else f"Value #{target['refId']}"
            rows.setdefault(tuple(sorted(shown.items())), {**shown})[name] = points[-1][1]
    shown_columns = [c for c in columns if not settings.get(c, {}).get("custom.hidden")]
    head = "".join(f"<th>{escape(settings.get(c, {}).get('displayName', c))}</th>" for c in shown_columns)
    body = []
    for row in list(rows.values())[: max(1, height // 22 - 1)]:
        cells = []
        for c in shown_columns:
            v = row.get(c, "-")
            own = settings.get(c, {})
            shown = later(v, own.get("unit", usual), own.get("decimals")) if isinstance(v, float) else escape(v)
            cells.append(f"<td>{shown}</td>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><tr>{head}</tr>{''.join(body)}</table>"


_PAINT = {"timeseries": _lines, "stat": _stat, "bargauge": _bars, "table": _table}


def picture(page: Path, out: Path, height: int, width: int = 1920) -> None:
    """A picture of an HTML page."""
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                program("chromium"), "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                f"--user-data-dir={profile}", f"--window-size={width},{height}", f"--screenshot={out}", page.as_uri(),
            ],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip


def main(out: Path, themes: Sequence[str], widths: Sequence[int]) -> None:
    """Draw every board in each theme and at each width."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, scraped_demo(Path(folder)) as (prometheus, span):
        reader = Reader(prometheus.url, span)
        for name, board in boards().items():
            bottom = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in board["panels"])
            for theme, wide in product(themes, widths):
                page = out / f"{name}-{theme}-{wide}.html"
                page.write_text(draw(board, reader, theme, wide), encoding="utf-8")
                picture(page, page.with_suffix(".png"), 60 + bottom * (ROW + GAP), wide)
                print(page.with_suffix(".png"), len(list(panels(board))), "panels")


if __name__ == "__main__":
    asked = sys.argv[2] if len(sys.argv) > 2 else "dark"
    main(
        Path(sys.argv[1]).resolve(),
        tuple(THEMES) if asked == "both" else (asked,),
        tuple(map(int, sys.argv[3:])) or (1920,),
    )
