"""Writes plots as SVG: bars for comparisons, lines for growth."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH = 820
LEFT = 330
BAR = 20
GAP = 10
COLORS = ("#2f6fde", "#d9822b", "#6b7785", "#3a9d5d", "#9a4fb8", "#b8434e")
OURS = "GIF Chat"
TEXT = 'font-family="system-ui, sans-serif" font-size="13" fill="#24292f"'


def bars(title: str, unit: str, rows: Mapping[str, tuple[float, float, float]]) -> str:
    """Draw a bar per row: the median, and a line from minimum to maximum; logarithmic if rows differ a lot."""
    medians = [median for median, _, _ in rows.values()]
    most = max(high for _, _, high in rows.values()) or 1.0
    least = min((low for _, low, _ in rows.values() if low > 0), default=most)
    logarithmic = min(medians) > 0 and max(medians) / min(medians) > 12
    width = WIDTH - LEFT - 110
    floor = least / 2

    def x(value: float) -> float:
        if not logarithmic:
            return value / most * width
        return max(0.0, math.log(max(value, floor) / floor) / math.log(most / floor) * width)

    height = 70 + len(rows) * (BAR + GAP)
    out = _head(title, f"{unit}{', logarithmic' if logarithmic else ''}", height)
    for at, (label, (median, low, high)) in enumerate(rows.items()):
        y = 56 + at * (BAR + GAP)
        middle = y + BAR / 2
        color = COLORS[0] if OURS in label else COLORS[2]
        out += [
            f'<text x="{LEFT - 10}" y="{middle + 5}" text-anchor="end" {TEXT}>{escape(label)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{x(median):.1f}" height="{BAR}" fill="{color}"/>',
            f'<line x1="{LEFT + x(low):.1f}" x2="{LEFT + x(high):.1f}" y1="{middle}" y2="{middle}" '
            'stroke="#24292f" stroke-width="2"/>',
            f'<text x="{LEFT + x(high) + 8:.1f}" y="{middle + 5}" {TEXT}>{number(median)}</text>',
        ]
    return "\n".join([*out, "</svg>", ""])


def lines(title: str, x_axis: str, y_axis: str, curves: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """Draw a line per curve; x is logarithmic, y starts at zero."""
    left, top, width, height = 70, 60, WIDTH - 110, 260
    points = [point for curve in curves.values() for point in curve]
    low, high = min(point[0] for point in points), max(point[0] for point in points)
    most = max(point[1] for point in points) * 1.1 or 1.0

    def place(point: Sequence[float]) -> tuple[float, float]:
        share = math.log(point[0] / low) / math.log(high / low) if high > low else 0.5
        return left + share * width, top + height - point[1] / most * height

    out = _head(title, f"{y_axis}; {x_axis} on a logarithmic scale", top + height + 50 + 20 * len(curves))
    for step in range(5):
        value = most * step / 4
        y = place((low, value))[1]
        out.append(f'<line x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}" stroke="#d0d7de"/>')
        out.append(f'<text x="{left - 8}" y="{y + 5:.1f}" text-anchor="end" {TEXT}>{number(value)}</text>')
    for at in sorted({point[0] for point in points}):
        out.append(
            f'<text x="{place((at, 0))[0]:.1f}" y="{top + height + 20}" text-anchor="middle" {TEXT}>{at:,.0f}</text>'
        )
    for index, (label, curve) in enumerate(curves.items()):
        color = COLORS[index % len(COLORS)]
        places = [place(point) for point in curve]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        out.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2.5"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{color}"/>' for x, y in places]
        y = top + height + 48 + 20 * index
        out.append(f'<rect x="{left}" y="{y - 11}" width="14" height="14" fill="{color}"/>')
        out.append(f'<text x="{left + 22}" y="{y}" {TEXT}>{escape(label)}</text>')
    return "\n".join([*out, "</svg>", ""])


def number(value: float) -> str:
    """Format with three significant digits; large numbers keep all digits before the point."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def _head(title: str, subtitle: str, height: int) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="24" {TEXT} font-weight="600">{escape(title)}</text>',
        f'<text x="16" y="42" {TEXT}>{escape(subtitle)}</text>',
    ]
