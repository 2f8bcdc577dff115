"""Draw which part of ganaug imports which, for the page on its architecture.

    python docs/draw_layers.py docs/_build/layers.html

Sphinx runs this before it reads the pages (see conf.py). Layers are those of import-linter in
pyproject.toml, imports are read from the sources. Writes an HTML figure with an inline SVG, which
takes its colours from the page, light or dark.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

import ganaug
from ganaug.files import write_bytes

__all__ = ["imports_between", "read_layers", "render"]

ROOT = Path(__file__).resolve().parents[1]
_PACKAGE = ROOT / "src" / "ganaug"

# SVG units, which are pixels on a wide screen.
_WIDTH, _GUTTER, _LETTER, _CHIP, _LINE, _PAD = 720, 150, 6.65, 20, 25, 5

_STYLE = """
.layers { display: block; width: 100%; height: auto; font: 11px var(--font-stack--monospace,
  monospace); }
.layers .band { fill: var(--color-background-secondary, #f4f4f4); }
.layers .chip { fill: var(--color-background-primary, #fff);
  stroke: var(--color-background-border, #ccc); }
.layers text { fill: var(--color-foreground-primary, #222); }
.layers path { fill: none; stroke: var(--color-foreground-muted, #666); opacity: .22; }
.layers .layer:hover path { stroke: var(--color-brand-content, #06c); opacity: .9; }
.layers .layer:hover .band { fill: var(--color-background-hover, #e8e8e8); }
"""


def read_layers() -> list[list[str]]:
    """Return the layers of modules, the highest first, as they are checked."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    [layers] = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    return [layer.split(" : ") for layer in layers]


def imports_between(package: Path) -> dict[str, set[str]]:
    """Return what each module or package right below a package imports of the others.

    Imports within functions count, those for type checkers alone do not.
    """
    found: dict[str, set[str]] = {}
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).with_suffix("").parts[0]
        if name != "__init__":
            imported = found.setdefault(name, set())
            imported |= set(_imported(ast.parse(path.read_text("utf-8")))) - {name}
    return {name: imported & found.keys() for name, imported in found.items()}


def _imported(node: ast.AST) -> Iterator[str]:
    """Yield names right below ``ganaug``; a public name counts as the module that has it."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
    if isinstance(node, ast.ImportFrom) and node.module == "ganaug":
        names = [f"ganaug.{ganaug._HOMES.get(each.name, each.name)}" for each in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        names = [node.module]
    yield from (name.split(".")[1] for name in names if name.startswith("ganaug."))
    for child in ast.iter_child_nodes(node):
        yield from _imported(child)


def render(layers: Sequence[Sequence[str]], imports: Mapping[str, set[str]]) -> str:
    """Return the figure, an HTML element."""
    place = {name: number for number, layer in enumerate(layers) for name in layer}
    between = Counter(
        (place[name], place[other]) for name, others in imports.items() for other in others
    )
    chips = [_chips(layer) for layer in layers]
    heights = [len(rows) * _LINE for rows in chips]
    tops = [sum(heights[:number]) + number * _PAD for number in range(len(layers))]
    middles = [top + height / 2 for top, height in zip(tops, heights, strict=True)]
    arcs: list[list[str]] = [[] for _ in layers]
    for (above, below), count in sorted(between.items()):
        if above != below:
            arcs[above].append(_arc(middles[above], middles[below], count, tops[-1]))
    groups = [
        _layer(top, rows, imports, own) for top, rows, own in zip(tops, chips, arcs, strict=True)
    ]
    return (
        f"<style>{_STYLE}</style>\n<figure>\n"
        f'<svg class="layers" viewBox="0 0 {_WIDTH} {tops[-1] + heights[-1] + _PAD}" role="img" '
        'aria-label="Layers of modules, and imports between them">\n'
        + "\n".join(groups)
        + f"\n</svg>\n<figcaption>{_caption(between, len(imports), len(layers))}</figcaption>\n"
        "</figure>\n"
    )


def _caption(between: Mapping[tuple[int, int], int], modules: int, layers: int) -> str:
    beside = sum(count for (above, below), count in between.items() if above == below)
    upwards = sum(count for (above, below), count in between.items() if above > below)
    return (
        f"{modules} modules and packages in {layers} layers. An arc is what one layer imports of "
        f"another, thicker for more: {sum(between.values()):,} imports of one module by another, "
        f"{beside} of them within a layer and {upwards or 'none'} upwards. Point at a layer to see "
        "its arcs, at a name to read what it imports."
    )


def _chips(layer: Sequence[str]) -> list[list[tuple[float, float, str]]]:
    """Break a layer's names into lines: left edge, width and name of each."""
    rows: list[list[tuple[float, float, str]]] = [[]]
    x = _GUTTER + 8.0
    for name in layer:
        width = len(name) * _LETTER + 14
        if x + width > _WIDTH - 4:
            rows.append([])
            x = _GUTTER + 8.0
        rows[-1].append((x, width, name))
        x += width + 5
    return rows


def _layer(
    top: int,
    rows: Sequence[Sequence[tuple[float, float, str]]],
    imports: Mapping[str, set[str]],
    arcs: Sequence[str],
) -> str:
    parts = [
        f'<rect class="band" x="{_GUTTER}" y="{top}" width="{_WIDTH - _GUTTER}" '
        f'height="{len(rows) * _LINE + 1}" rx="4"/>'
    ]
    for number, row in enumerate(rows):
        y = top + number * _LINE + 3
        for x, width, name in row:
            below = ", ".join(sorted(imports[name])) or "nothing of ganaug"
            parts.append(
                f'<g><title>{name} imports {escape(below)}</title><rect class="chip" x="{x:.1f}" '
                f'y="{y}" width="{width:.1f}" height="{_CHIP}" rx="3"/>'
                f'<text x="{x + 7:.1f}" y="{y + 14}">{name}</text></g>'
            )
    return "\n".join(['<g class="layer">', *parts, *arcs, "</g>"])


def _arc(start: float, end: float, count: int, height: float) -> str:
    """Return an arc in the gutter, wider for what is further down, thicker for more imports."""
    x = _GUTTER - 2
    reach = x - 10 - (_GUTTER + 30) * (end - start) / height  # a curve goes 3/4 of the way there
    return (
        f'<path d="M{x} {start:.1f} C{reach:.1f} {start:.1f} {reach:.1f} {end:.1f} {x} {end:.1f}" '
        f'stroke-width="{0.7 * count**0.5:.2f}"/>'
    )


if __name__ == "__main__":
    write_bytes(Path(sys.argv[1]), render(read_layers(), imports_between(_PACKAGE)).encode())
