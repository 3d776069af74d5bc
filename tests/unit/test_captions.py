"""Every caption of the report is valid reStructuredText once its template is filled in."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from docutils.core import publish_parts
from jinja2 import Environment, StrictUndefined

from genebert import report_layout

CONFIG = {
    "splits": {"train": ["chr1"], "valid": ["chr2"], "test": ["chr3"], "held_out_cell_types": []},
}


@pytest.mark.parametrize(
    ("steps", "seeds", "source", "said"),
    [
        (report_layout.SMOKE_STEPS, 2, "simulated", {"not evidence", "demo: not evidence"}),
        (report_layout.SMOKE_STEPS, 3, "files", {"not evidence"}),
        (report_layout.SMOKE_STEPS + 1, 2, "simulated", {"Few seeds"}),
        (report_layout.SMOKE_STEPS + 1, 3, "simulated", set()),
    ],
)
def test_captions_are_valid_and_say_what_the_run_is_worth(root, steps, seeds, source, said):
    effort = {"pretrain_steps": steps, "pretrain_seeds": seeds, "finetune_seeds": 1}
    config = CONFIG | {
        "effort": effort | {"bootstrap_draws": 2000},
        "genome": {"name": "sim1", "source": source},
    }
    environment = Environment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    captions = sorted((root / "workflow" / "report").glob("*.rst"))
    assert captions
    for path in captions:
        template = environment.from_string(path.read_text(encoding="utf-8"))
        text = template.render(snakemake=SimpleNamespace(config=config))
        strict = {"report_level": 1, "halt_level": 2}  # any warning is an error
        body = publish_parts(text, writer="html", settings_overrides=strict)["html_body"]
        known = ("not evidence", "demo: not evidence", "Few seeds")
        assert {words for words in known if words in body} == said, path.name


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


def test_short_trainings_are_captioned_as_such(config):
    assert config["effort"]["pretrain_steps"] == report_layout.SMOKE_STEPS
    assert report_layout.caption(config) == "demo: not evidence"
    config["genome"] |= {"source": "files", "name": "mm10"}
    assert report_layout.caption(config) == "mm10, 60 steps of pre-training: not evidence"
    config["effort"]["pretrain_steps"] = 5000
    assert report_layout.caption(config) == "mm10"
    config["genome"]["source"] = "simulated"
    assert report_layout.caption(config) == "simulated genome mm10"
