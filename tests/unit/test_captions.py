"""Every caption of the report is valid reStructuredText once its template is filled in."""

from __future__ import annotations

from types import SimpleNamespace

from docutils.core import publish_parts
from jinja2 import Environment, StrictUndefined

from genebert import report_layout

CONFIG = {
    "genome": {"name": "sim1", "source": "simulated"},
    "splits": {"train": ["chr1"], "valid": ["chr2"], "test": ["chr3"], "held_out_cell_types": []},
    "effort": {"pretrain_seeds": 2, "finetune_seeds": 1, "bootstrap_draws": 2000},
}


def test_captions_are_valid_and_the_demo_says_so(root):
    captions = sorted((root / "workflow" / "report").glob("*.rst"))
    assert captions
    environment = Environment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    for path in captions:
        template = environment.from_string(path.read_text(encoding="utf-8"))
        for seeds, demo in ((2, True), (3, False)):
            config = CONFIG | {"effort": CONFIG["effort"] | {"pretrain_seeds": seeds}}
            text = template.render(snakemake=SimpleNamespace(config=config))
            strict = {"report_level": 1, "halt_level": 2}  # any warning is an error
            body = publish_parts(text, writer="html", settings_overrides=strict)["html_body"]
            assert ("demo: not evidence" in body) == demo, path.name


def test_every_figure_and_page_has_a_caption_that_says_what_to_look_for(root):
    for name in (*report_layout.FIGURES, *report_layout.PAGES, "tables", "logos", "qc", "leaks"):
        text = (root / f"workflow/report/{name}.rst").read_text(encoding="utf-8")
        assert "Look for" in " ".join(text.split()) or "Click a column" in text, name


def test_every_caption_is_of_something(root):
    named = {
        *report_layout.FIGURES,
        *report_layout.PAGES,
        "tables",
        "logos",
        "qc",
        "leaks",
        "atlas",
        "workflow",
    }
    assert {path.stem for path in (root / "workflow/report").glob("*.rst")} == named


def test_sections_of_figures_and_pages_exist():
    for section, title in [*report_layout.FIGURES.values(), *report_layout.PAGES.values()]:
        assert section in report_layout.SECTIONS
        assert title
