"""Figures can be drawn from what the stages write, are the same every time and tell what is wrong.

Also the captions: each must be valid reStructuredText after its template is filled in.
"""

from __future__ import annotations

import json
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from docutils.core import publish_parts
from evaluation_toys import make_frame, predict, write_home
from jinja2 import Environment, StrictUndefined
from sklearn import metrics as sk

from genebert import figures
from genebert.curves import pr_curve, roc_curve
from genebert.errors import InputError
from genebert.evaluate import evaluate

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    root = tmp_path_factory.mktemp("figures")
    frame = make_frame(300, groups=("CTCF", "MAX"))
    home = write_home(root, frame, task="tfbs", name="chip")
    for number, model in enumerate(("genebert", "gc", "oracle")):
        tracks = [predict(frame, model, 1.0, number, track=t) for t in ("", "zeroshot:llr")]
        home.add(model, pd.concat(tracks))
    arguments = home.arguments(root)
    evaluate(**arguments)
    return arguments


@pytest.fixture
def logs(tmp_path):
    paths = []
    for variant in ("full", "sequence"):
        for seed in (1, 2):
            folder = tmp_path / variant / f"seed-{seed}"
            folder.mkdir(parents=True)
            lines = [
                {"kind": "train", "step": step, "loss": {"mgm": 1.4, "srm": 0.7}, "seconds": 3}
                for step in range(seed)
            ]
            lines.append({"kind": "evaluation", "step": 2, "set": "valid", "srm_n2_auroc": 0.5})
            lines.append({"kind": "probe", "set": "valid", "probe": "gc", "auroc": 0.6})
            (folder / "metrics.jsonl").write_text(
                "".join(json.dumps(line) + "\n" for line in [{"start": True}, *lines])
            )
            paths.append(str(folder / "metrics.jsonl"))
    return paths


def draw(name, tables, logs, path):
    inputs = {
        "training_curves": {"metrics": logs},
        "roc_pr": {"curves": [tables["curves"]]},
        "calibration": {"curves": [tables["curves"]]},
        "forest": {"tables": [tables["wide"]]},
    }
    getattr(figures, name)(**inputs[name], figure=str(path))


NAMES = ["training_curves", "roc_pr", "calibration", "forest"]


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_svg_and_equal_byte_for_byte(name, tables, logs, tmp_path):
    for path in (tmp_path / "one.svg", tmp_path / "two.svg"):
        draw(name, tables, logs, path)
    one = (tmp_path / "one.svg").read_bytes()
    assert one == (tmp_path / "two.svg").read_bytes()
    assert b"<dc:date>" not in one
    drawing = ElementTree.fromstring(one)
    assert drawing.tag == f"{SVG}svg"
    shapes = [*drawing.iter(f"{SVG}path"), *drawing.iter(f"{SVG}image")]
    assert len(shapes) > 10


def test_png_too_but_nothing_unknown(tables, logs, tmp_path):
    draw("forest", tables, logs, tmp_path / "forest.png")
    assert (tmp_path / "forest.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match=r"unknown kind of figure.*\.svg"):
        draw("forest", tables, logs, tmp_path / "forest.jpeg")


def texts(path):
    """Return the comments that matplotlib writes beside text drawn as paths."""
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    tree = ElementTree.parse(path, parser)
    return [e.text.strip() for e in tree.iter() if e.tag is ElementTree.Comment]


def test_forest_has_a_panel_for_every_dataset_but_not_for_groups(tables, logs, tmp_path):
    draw("forest", tables, logs, tmp_path / "f.svg")
    shown = texts(tmp_path / "f.svg")
    titles = [text for text in shown if text.startswith("tfbs:")]
    assert titles == ["tfbs: chip", "tfbs: chip-zeroshot:llr"]
    assert shown.count("oracle") == 2
    assert shown.count("AUROC") == 2


def test_calibration_leaves_out_scores_that_are_no_probabilities(tables, logs, tmp_path):
    draw("calibration", tables, logs, tmp_path / "f.svg")
    assert [t for t in texts(tmp_path / "f.svg") if t.startswith("tfbs:")] == ["tfbs: chip"]


def test_training_curves_have_one_panel_per_loss(logs, tables, tmp_path):
    draw("training_curves", tables, logs, tmp_path / "f.svg")
    shown = texts(tmp_path / "f.svg")
    titles = {"mgm", "srm", "srm_n2_auroc"}
    assert titles | {"full", "sequence", "full, valid", "sequence, valid"} <= set(shown)
    assert shown.count("step") == 3
    assert shown.count("full") == 1  # one entry of the legend for both seeds
    assert not {"seconds", "auroc"} & set(shown)


def test_a_damaged_log_is_named_with_its_line(logs, tmp_path):
    with open(logs[1], "a") as handle:
        handle.write('{"step": 3,\n')
    with pytest.raises(InputError, match=r"seed-2/metrics\.jsonl, line 6: not a JSON object"):
        figures.training_curves(metrics=logs, figure=str(tmp_path / "f.svg"))


def test_logs_without_losses_still_make_a_figure(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("")
    figures.training_curves(
        metrics=[str(tmp_path / "metrics.jsonl")], figure=str(tmp_path / "f.svg")
    )
    assert "no losses were logged" in texts(tmp_path / "f.svg")


def test_tables_with_other_columns_are_refused(tables, tmp_path):
    with pytest.raises(InputError, match=r"table\.tsv, line 1: has other columns"):
        figures.roc_pr(curves=[tables["wide"]], figure=str(tmp_path / "f.svg"))


def test_curves_equal_scikit_learn():
    rng = np.random.default_rng(2)
    labels = rng.random(400) < 0.3
    scores = np.round(rng.normal(size=400) + labels, 1)
    fpr, tpr, _ = sk.roc_curve(labels, scores, drop_intermediate=False)
    curve = roc_curve(labels, scores)
    grid = np.linspace(0, 1, 51)
    inner = grid[1:]
    assert curve[1:] == pytest.approx(np.interp(inner, fpr, tpr), abs=0.05)
    precision, recall, _ = sk.precision_recall_curve(labels, scores)
    wanted = [precision[:-1][recall[:-1] >= r - 1e-12][-1] for r in inner]
    assert pr_curve(labels, scores)[1:] == pytest.approx(wanted)
    perfect = np.array([True, False])
    assert (roc_curve(perfect, np.array([1.0, 0.0])) == 1).all()
    assert (pr_curve(perfect, np.array([1.0, 0.0])) == 1).all()


CONFIG = {
    "genome": {"name": "sim1", "source": "simulated"},
    "splits": {"train": ["chr1"], "valid": ["chr2"], "test": ["chr3"], "held_out_cell_types": []},
    "effort": {"pretrain_seeds": 2, "finetune_seeds": 1, "bootstrap_draws": 2000},
}


def test_captions_are_valid_and_the_demo_says_so(root):
    captions = sorted((root / "workflow" / "report").glob("*.rst"))
    assert {f"{name}.rst" for name in ("workflow", "tables", "heatmap", "qc", "leaks")} <= {
        path.name for path in captions
    }
    environment = Environment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    for path in captions:
        template = environment.from_string(path.read_text(encoding="utf-8"))
        for seeds, demo in ((2, True), (3, False)):
            config = CONFIG | {"effort": CONFIG["effort"] | {"pretrain_seeds": seeds}}
            text = template.render(snakemake=SimpleNamespace(config=config))
            strict = {"report_level": 1, "halt_level": 2}  # any warning is an error
            body = publish_parts(text, writer="html", settings_overrides=strict)["html_body"]
            assert ("demo: not evidence" in body) == demo, path.name
