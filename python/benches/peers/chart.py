"""Bars as SVG: one for each row, what it is made of in shades."""

from html import escape

PARTS = [("encoder", "encoder"), ("first", "first step"), ("later_all", "later steps")]
OURS, OTHERS = ["#8a3b12", "#c2611f", "#e79a5f"], ["#3f4a56", "#6d7a88", "#a5afba"]
ROW, LEFT, WIDTH, TOP = 24, 210, 620, 46


def draw(title, rows):
    """`rows`: {name: {encoder, first, later_all}} in milliseconds, the quickest first."""
    longest = max(sum(row[part] for part, _ in PARTS) for row in rows.values())
    scale = (WIDTH - 60) / longest
    height = TOP + ROW * len(rows) + 8
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 10} {height}" '
        'font-family="system-ui, sans-serif" font-size="12" role="img">',
        f"<title>{escape(title)}</title>",
        "<style>text{fill:#333}@media(prefers-color-scheme:dark){text{fill:#ddd}}</style>",
        f'<text x="0" y="14" font-weight="600">{escape(title)}</text>',
    ]
    x = LEFT
    for (_, label), shade in zip(PARTS, OTHERS):
        out.append(f'<rect x="{x}" y="24" width="10" height="10" fill="{shade}"/>'
                   f'<text x="{x + 14}" y="33">{label}</text>')
        x += 100
    for i, (name, row) in enumerate(rows.items()):
        y, x = TOP + ROW * i, LEFT
        shades = OURS if name.startswith("Crosslatch") else OTHERS
        out.append(f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>')
        for (part, _), shade in zip(PARTS, shades):
            width = row[part] * scale
            out.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="17" fill="{shade}"/>')
            x += width
        total = sum(row[part] for part, _ in PARTS)
        out.append(f'<text x="{x + 6:.1f}" y="{y + 13}">{total:.0f} ms</text>')
    return "\n".join([*out, "</svg>", ""])
