"""Draw the pictures of the concepts page as SVG, with a light ground of their own.

In: nothing. Out: one text per picture; as a program, the files in ``docs/assets``::

    python docs/tools/figures.py
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path

ASSETS = Path(__file__).resolve().parents[1] / "assets"
GROUND, INK, SOFT, FRAME = "#fbfbf8", "#1f2933", "#52606d", "#9aa5b1"
BLUE, ORANGE, GREEN, GREY, WHITE = "#0072b2", "#d55e00", "#009e73", "#cbd2d9", "#ffffff"
PALE_BLUE, PALE_ORANGE, PALE_GREEN = "#cfe5f2", "#fbe0cc", "#cdeee3"
ALIGN = {0: "start", 1: "middle", 2: "end"}


class Drawing:
    """Shapes of one picture, in the order in which they are drawn."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.size, self.title, self.parts = (width, height), title, [""]

    def box(
        self, x: float, y: float, w: float, h: float, fill: str = WHITE, line: str = FRAME
    ) -> None:
        """Draw a rectangle."""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="2" fill="{fill}"'
            f' stroke="{line}"/>'
        )

    def text(
        self, x: float, y: float, text: str, size: int = 13, align: int = 0, fill: str = INK,
        weight: str = "normal", family: str = "sans-serif",
    ) -> None:  # fmt: skip
        """Write a line; ``align`` is 0 for left, 1 for the middle, 2 for right."""
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{ALIGN[align]}"'
            f' fill="{fill}" font-weight="{weight}" font-family="{family}">{escape(text)}</text>'
        )

    def note(self, x: float, y: float, *lines: str) -> None:
        """Write lines of an explanation, one below the other."""
        for number, line in enumerate(lines):
            self.text(x, y + 18 * number, line, fill=SOFT)

    def label(self, x: float, y: float, w: float, h: float, text: str, **fill: str) -> None:
        """Draw a rectangle with centred text."""
        self.box(x, y, w, h, **fill)
        lines = text.split("\n")
        for number, line in enumerate(lines):
            at = y + h / 2 + 4.5 + 15 * (number - (len(lines) - 1) / 2)
            self.text(x + w / 2, at, line, align=1)

    def line(self, x1: float, y1: float, x2: float, y2: float, stroke: str = FRAME) -> None:
        """Draw a line."""
        self.parts.append(f'<path d="M{x1:g} {y1:g}L{x2:g} {y2:g}" stroke="{stroke}" fill="none"/>')

    def arrow(self, x1: float, y1: float, x2: float, y2: float, stroke: str = SOFT) -> None:
        """Draw an arrow."""
        self.parts.append(
            f'<path d="M{x1:g} {y1:g}L{x2:g} {y2:g}" stroke="{stroke}" stroke-width="1.5"'
            f' fill="none" marker-end="url(#tip)"/>'
        )

    def bend(self, x1: float, y1: float, x2: float, y2: float, up: float, stroke: str) -> None:
        """Draw an arrow in a bow, ``up`` above its ends."""
        top = min(y1, y2) - up
        self.parts.append(
            f'<path d="M{x1:g} {y1:g}C{x1:g} {top:g} {x2:g} {top:g} {x2:g} {y2:g}"'
            f' stroke="{stroke}" stroke-width="1.5" fill="none" marker-end="url(#tip)"/>'
        )

    def svg(self) -> str:
        """Return the picture."""
        w, h = self.size
        body = "\n".join(self.parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}"'
            f' height="{h}" role="img">\n<title>{escape(self.title)}</title>\n'
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7"'
            f' markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="{SOFT}"/></marker>'
            f'</defs>\n<rect width="{w}" height="{h}" rx="6" fill="{GROUND}"/>{body}\n</svg>\n'
        )


# Which regions are open in each cell type; the anchor A is the sixth.
ANCHOR = 5
OPEN = {
    "HSC": (0, 2, 3, 5, 7, 8, 9, 10),
    "B": (0, 1, 3, 4, 6, 8, 10),
    "Ery": (1, 2, 3, 5, 6, 7, 9, 10),
}


def tracks(d: Drawing, left: float, top: float, step: float, cells: dict[str, tuple[str, str]]):
    """Draw open regions of cell types; ``cells`` gives fill and line of each."""
    for row, (cell, (fill, line)) in enumerate(cells.items()):
        y = top + 30 * row
        d.text(left - 12, y + 13, cell, align=2)
        d.line(left, y + 9, left + 11 * step - 8, y + 9)
        for region in OPEN[cell]:
            own = region == ANCHOR
            d.box(left + region * step, y, step - 12, 18, *(
                (PALE_ORANGE, ORANGE) if own else (fill, line)
            ))  # fmt: skip
            if own:
                d.text(left + region * step + (step - 12) / 2, y + 13, "A", 12, 1)


def matrix(
    d: Drawing, x: float, y: float, cell: float, line: str, seed: int, rows: int = 6,
    columns: int = 5,
) -> None:  # fmt: skip
    """Draw a TF x region matrix: motif rows, the row of accessibility, an empty middle column."""
    shades = (WHITE, WHITE, PALE_BLUE, "#8dc3e3", BLUE)
    for row in range(rows):
        for column in range(columns):
            word = (seed * 7919 + row * 131 + column * 37 + row * column * 17) % 11
            fill = shades[min(word // 2, 4)] if row < rows - 1 else PALE_GREEN
            if column == columns // 2:
                fill = GROUND
            d.box(x + column * cell, y + row * cell, cell, cell, fill, line)


def modalities() -> str:
    """The two modalities of one sample."""
    d = Drawing(760, 470, "The two modalities: the sequence of a region, and the matrix around it")
    d.text(20, 26, "Open regions along one chromosome", 14, weight="bold")
    tracks(d, 90, 44, 58, dict.fromkeys(OPEN, (GREY, FRAME)))
    d.note(90, 152, "A sample is a cell type (here HSC) and a region open in it, the anchor A.")
    d.arrow(330, 168, 210, 192)
    d.arrow(430, 168, 540, 192)
    d.text(20, 214, "Modality 1: sequence", 14, weight="bold")
    bases = "GATTACAGCGTGACTT"
    for i, base in enumerate(bases):
        d.text(34 + i * 20, 246, base, 15, 1, ORANGE, "bold", "monospace")
    for i in range(5):
        d.label(24 + i * 20, 258 + i * 25, 120, 20, bases[i : i + 6], fill=PALE_ORANGE, line=ORANGE)
    d.text(250, 300, "tokens: overlapping", fill=SOFT)
    d.text(250, 317, "k-mers (k = 6)", fill=SOFT)
    d.text(250, 334, "of A alone", fill=SOFT)
    d.arrow(120, 388, 120, 408)
    d.label(20, 412, 330, 40, "sequence encoder: transformer", fill=WHITE, line=ORANGE)
    d.text(410, 214, "Modality 2: TF x region matrix", 14, weight="bold")
    matrix(d, 506, 232, 24, FRAME, 3)
    for row, name in enumerate(("motif 1", "motif 2", "...", "...", "motif M", "accessibility")):
        d.text(498, 249 + 24 * row, name, 12, 2)
    d.text(638, 262, "columns: R regions", 12, fill=SOFT)
    d.text(638, 278, "open in HSC, half", 12, fill=SOFT)
    d.text(638, 294, "on each side of A;", 12, fill=SOFT)
    d.text(638, 310, "the column of A", 12, fill=SOFT)
    d.text(638, 326, "itself stays empty", 12, fill=SOFT)
    d.arrow(566, 380, 566, 408)
    d.label(410, 412, 330, 40, "region encoder: Swin-style or transformer", line=BLUE)
    return d.svg()


def mgm() -> str:
    """Masked genome modelling: spans of bases, and the tokens that touch them."""
    d = Drawing(
        760, 320, "Masked genome modelling: every token that touches a hidden base is masked"
    )
    bases, hidden, step = "CTGAGGATTCGACATGCAAT", range(8, 13), 30
    d.text(20, 28, "A span of 5 bases is hidden; the loss asks for these bases.", 14, weight="bold")
    for i, base in enumerate(bases):
        inside = i in hidden
        d.label(
            30 + i * step, 42, step - 4, 26, "?" if inside else base,
            fill=ORANGE if inside else WHITE, line=ORANGE if inside else FRAME,
        )  # fmt: skip
    for i in range(15):
        touched = any(j in hidden for j in range(i, i + 6))
        row = i % 6
        text = "MASK" if touched else bases[i : i + 6]
        x, y = 30 + i * step, 82 + 26 * row
        fill, line = (PALE_ORANGE, ORANGE) if touched else (PALE_BLUE, BLUE)
        d.label(x, y, 6 * step - 4, 21, text, fill=fill, line=line)
    d.note(
        20, 268,
        "Tokens are k-mers (k = 6, one per base). All 10 = 5 + 6 - 1 tokens that touch the span",
        "are masked: were one left, it would show the bases. 80 % of the spans are masked, 10 %",
        "replaced by random bases, 10 % kept, each span as a whole.",
    )  # fmt: skip
    return d.svg()


def ngsp() -> str:
    """Next genome segment prediction: the true and the false second segment."""
    d = Drawing(760, 270, "Next genome segment prediction: which segment follows A?")
    d.text(20, 28, "Does B follow A among the regions open in this cell type?", 14, weight="bold")
    y = 110
    d.line(30, y + 10, 730, y + 10)
    for x in (40, 250, 390, 460, 530, 670):
        d.box(x, y, 44, 20, GREY)
    for x, name, fill, line in (
        (110, "A", PALE_ORANGE, ORANGE),
        (180, "B+", PALE_GREEN, GREEN),
        (600, "B-", PALE_BLUE, BLUE),
    ):
        d.label(x, y, 44, 20, name, fill=fill, line=line)
    d.box(310, y - 4, 64, 28, GROUND, GROUND)
    d.text(342, y + 14, "...", align=1)
    d.bend(132, y - 4, 200, y - 4, 34, GREEN)
    d.bend(132, y - 4, 620, y - 4, 70, BLUE)
    d.text(212, 84, "the next open region", 12, fill=GREEN)
    d.text(376, 48, "more than 10 open regions away, GC within 2 %, like breadth", 12, 1, BLUE)
    for i, (label, fill, line, width) in enumerate(
        (
            ("[CLS]", WHITE, FRAME, 60),
            ("A, on a random strand", PALE_ORANGE, ORANGE, 230),
            ("[SEP]", WHITE, FRAME, 60),
            ("B, on a random strand", PALE_GREEN, GREEN, 230),
        )
    ):
        d.label(90 + (0, 60, 290, 350)[i], 160, width, 28, label, fill=fill, line=line)
    d.note(
        20,
        224,
        "Half of the rows have B+, half B-. Regions lie apart, so no k-mer spans the join;",
        "B- is matched to B+, so that nothing about B alone gives the answer away.",
    )
    return d.svg()


def srm() -> str:
    """Sequence-region matching: the right matrix and the two kinds of wrong ones."""
    d = Drawing(760, 330, "Sequence-region matching: which matrix belongs to the sequence of A?")
    d.text(20, 28, "Does this matrix belong to this sequence?", 14, weight="bold")
    d.label(30, 130, 130, 60, "sequence of A,\nopen in HSC", fill=PALE_ORANGE, line=ORANGE)
    kinds = (
        (250, GREEN, "yes", "around A in HSC", 3),
        (425, BLUE, "no, n1", "around another locus in HSC", 5),
        (600, BLUE, "no, n2", "around A in B, where A is closed", 8),
    )
    for x, line, answer, _, seed in kinds:
        matrix(d, x, 84, 24, line, seed)
        d.text(x + 60, 72, answer, 14, 1, line, "bold")
    d.arrow(162, 160, 244, 160)
    d.text(310, 246, "around A in HSC", 12, 1)
    d.text(485, 246, "around another locus", 12, 1)
    d.text(485, 261, "in HSC, matched on GC", 12, 1)
    d.text(485, 276, "and number of motifs", 12, 1)
    d.text(660, 246, "around A in B, a cell", 12, 1)
    d.text(660, 261, "type in which A is", 12, 1)
    d.text(660, 276, "closed", 12, 1)
    d.note(
        20,
        304,
        "The column of A is left out of every matrix: its motif row is a function of the sequence.",
        "n1 tests whether the two belong to one place, n2 whether the model knows the cell type.",
    )
    return d.svg()


def splits() -> str:
    """Chromosomes x cell types: what is trained on and what is tested."""
    d = Drawing(760, 300, "Splits: chromosomes and cell types held out")
    d.text(20, 28, "What is held out: chromosomes, cell types, or both", 14, weight="bold")
    columns = (("train", 330), ("valid", 110), ("test", 150))
    rows = (("training cell types", 110), ("held-out cell types", 70))
    cells = {
        (0, 0): ("train", PALE_GREEN, GREEN), (0, 1): ("valid", GREY, FRAME),
        (0, 2): ("test: chromosome", PALE_ORANGE, ORANGE),
        (1, 0): ("test: cell-type\n(transductive: the loci were seen)", WHITE, ORANGE),
        (1, 1): ("not used", GROUND, FRAME), (1, 2): ("test: both", "#f2a66f", ORANGE),
    }  # fmt: skip
    x = 150
    for column, (name, width) in enumerate(columns):
        d.text(x + width / 2, 62, f"{name} chromosomes", align=1)
        y = 74
        for row, (_, height) in enumerate(rows):
            text, fill, line = cells[row, column]
            d.label(x, y, width - 6, height - 6, text, fill=fill, line=line)
            y += height
        x += width
    d.text(140, 130, "training", align=2)
    d.text(140, 146, "cell types", align=2)
    d.text(140, 212, "held-out", align=2)
    d.text(140, 228, "cell types", align=2)
    d.note(
        20,
        276,
        "Test items of the tasks tfbs and accessibility have the name of their field as a stratum.",
    )
    return d.svg()


def pipeline() -> str:
    """The stages, in the order of the data."""
    d = Drawing(760, 250, "The pipeline, from files to tables and report")
    top = (
        ("download\nor simulate", 20), ("reference", 142), ("regions", 264),
        ("motifs:\nTF x region", 386), ("shards", 508), ("pre-training", 630),
    )  # fmt: skip
    for number, (name, x) in enumerate(top):
        d.label(x, 30, 110, 50, name, fill=PALE_BLUE, line=BLUE)
        if number:
            d.arrow(x - 12, 55, x - 2, 55)
    d.label(264, 130, 110, 50, "datasets of\nthe tasks", fill=PALE_GREEN, line=GREEN)
    d.label(630, 130, 110, 50, "fine-tuning\nand baselines", fill=PALE_ORANGE, line=ORANGE)
    d.arrow(319, 82, 319, 126)
    d.arrow(685, 82, 685, 126)
    d.arrow(376, 155, 626, 155)
    for x, name in ((508, "metrics,\nintervals"), (386, "result\ntables"), (264, "report")):
        d.label(x, 194, 110, 44, name)
    d.line(685, 182, 685, 216)
    d.arrow(685, 216, 620, 216)
    d.arrow(506, 216, 498, 216)
    d.arrow(384, 216, 376, 216)
    d.text(24, 150, "labels: promoters, ChIP-seq,", 12, fill=SOFT)
    d.text(24, 166, "variants, cohort, genes", 12, fill=SOFT)
    d.arrow(200, 155, 260, 155)
    return d.svg()


PICTURES: dict[str, Callable[[], str]] = {
    "pipeline.svg": pipeline,
    "modalities.svg": modalities,
    "mgm.svg": mgm,
    "ngsp.svg": ngsp,
    "srm.svg": srm,
    "splits.svg": splits,
}


def main() -> None:
    """Write all pictures."""
    for name, draw in PICTURES.items():
        (ASSETS / name).write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
