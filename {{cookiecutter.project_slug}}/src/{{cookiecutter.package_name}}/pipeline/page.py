"""One page with all figures of a series, which needs no other file and no network."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .work import Work

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1b2430; background: #f4f6f9; margin: 0; }
main { max-width: 70rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
section { background: #fff; border: 1px solid #dfe4ea; border-radius: .6rem;
  padding: 1.25rem 1.5rem; margin-top: 1.5rem; }
h1 { margin: 0; font-size: 1.7rem; } h2 { margin: 0 0 .25rem; font-size: 1.2rem; }
p { max-width: 60rem; margin: .25rem 0 1rem; } header p { color: #4b5563; }
img { width: 100%; height: auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin-top: 1rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .9rem .3rem 0; text-align: right; border-bottom: 1px solid #dfe4ea; }
th:first-child, td:first-child { text-align: left; }
caption { caption-side: bottom; text-align: left; color: #4b5563; padding-top: .4rem; }
"""


@dataclass(frozen=True)
class Table:
    """A table of numbers below a figure."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    said: str = ""


@dataclass(frozen=True)
class Shown:
    """A figure: its title, its explanation and the picture."""

    title: str
    said: str
    png: bytes
    tables: tuple[Table, ...] = ()


def written(work: Work, shown: Sequence[Shown]) -> str:
    """Write the page."""
    title = f"{work.series}, by the {work.length.word}"
    sections = "\n".join(map(section, shown))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<header><h1>{escape(title)}</h1>
<p>{escape(work.rule.unit)}; made from {escape(str(work.artifacts))}</p></header>
{sections}
</main>
</body>
</html>
"""


def section(shown: Shown) -> str:
    """Return a figure with its explanation, as HTML."""
    picture = b64encode(shown.png).decode("ascii")
    tables = "".join(map(table, shown.tables))
    return (
        f"<section><h2>{escape(shown.title)}</h2>\n<p>{escape(shown.said)}</p>\n"
        f'<img alt="{escape(shown.title)}: {escape(shown.said)}"'
        f' src="data:image/png;base64,{picture}">\n{tables}</section>'
    )


def table(of: Table) -> str:
    """Return a table, as HTML."""
    head = "".join(f"<th>{escape(name)}</th>" for name in of.head)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(value)}</td>' for value in row)}</tr>\n" for row in of.rows
    )
    said = f"<caption>{escape(of.said)}</caption>" if of.said else ""
    return f'<div class="wide"><table>{said}<tr>{head}</tr>\n{rows}</table></div>\n'
