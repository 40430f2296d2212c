"""What a network says of pictures, as one page that needs nothing else: no script, no other file."""

from base64 import b64encode
from html import escape

from deeper.inference.inputs import spelt
from deeper.inference.outputs import Row, Table

STYLE = """
:root { color-scheme: light dark; --ground: #fff; --card: #f4f5f7; --text: #1b1f24; --faint: #59636e;
  --bar: #4c8dff; --rest: #dde1e6; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171b; --card: #1e2329; --text: #e6e9ed;
  --faint: #a3adb8; --bar: #4c8dff; --rest: #323a43; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 80rem; padding: 1.5rem; background: var(--ground);
  color: var(--text); font: 1rem/1.4 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0; } p { color: var(--faint); overflow-wrap: anywhere; }
main { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); }
figure { margin: 0; padding: .75rem; border-radius: .5rem; background: var(--card); }
img { display: block; width: 100%; height: 12rem; object-fit: contain; }
figcaption { margin: .5rem 0; font-size: .85rem; color: var(--faint); overflow-wrap: anywhere; }
ol { list-style: none; margin: 0; padding: 0; font-size: .9rem; }
figure li { display: flex; justify-content: space-between; gap: .5rem; padding: .3rem 0 .35rem;
  background: linear-gradient(var(--bar) 0 0) 0 100% / var(--share) 3px no-repeat,
  linear-gradient(var(--rest) 0 0) 0 100% / 100% 3px no-repeat; }
figure li:first-child { font-weight: 600; }
li span:last-child { font-variant-numeric: tabular-nums; }
"""

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Page(Table):
    """A card for each picture; what could not be read is listed at the end."""

    thumbnails = True

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self._bad: list[str] = []

    def start(self) -> str:
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>Predictions</title><style>{STYLE}</style></head>\n"
            f"<body><h1>Predictions</h1><p>{escape(spelt(self.title))}</p>\n<main>\n"
        )

    def row(self, row: Row) -> str:
        name = escape(spelt(row.file))
        guesses = "".join(
            f'<li style="--share: {guess.probability:.1%}"><span>{escape(spelt(guess.words))}</span>'
            f"<span>{guess.probability:.1%}</span></li>"
            for guess in row.guesses
        )
        caption = name.replace("/", "/<wbr>")
        picture = b64encode(row.thumbnail or b"").decode()
        return (
            f'<figure><img alt="{name}" src="data:image/jpeg;base64,{picture}">'
            f"<figcaption><bdi>{caption}</bdi></figcaption><ol>{guesses}</ol></figure>\n"
        )

    def bad(self, file: str, why: str) -> None:
        self._bad.append(f"<li><bdi>{escape(spelt(file))}</bdi>: {escape(spelt(why))}</li>")

    def end(self) -> str:
        listed = f"<h2>Not read</h2><ul>{''.join(self._bad)}</ul>" if self._bad else ""
        return f"</main>{listed}</body></html>\n"
