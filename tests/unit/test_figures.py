"""Figures can be drawn from what the stages write, are the same every time and tell what is wrong.

Also the captions: each must be valid reStructuredText after its template is filled in.
"""

from __future__ import annotations

import json
from types import SimpleNamespace
from xml.etree import ElementTree

import anndata
import numpy as np
import pandas as pd
import pytest
from docutils.core import publish_parts
from evaluation_toys import make_frame, predict, write_home
from jinja2 import Environment, StrictUndefined
from scipy import sparse
from sklearn import metrics as sk

from genebert import figures
from genebert.curves import pr_curve, roc_curve
from genebert.errors import InputError
from genebert.evaluate import evaluate

SVG = "{http://www.w3.org/2000/svg}"


def index(names):
    return pd.DataFrame(index=pd.Index(list(names), dtype=object))


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


@pytest.fixture
def matrices(tmp_path):
    rng = np.random.default_rng(0)
    regions = [f"chr{1 + i // 60}:{i * 1000}-{i * 1000 + 500}" for i in range(100)]
    scores = sparse.csr_matrix(rng.random((100, 12)) * (rng.random((100, 12)) < 0.3), dtype="f4")
    opened = sparse.csr_matrix(rng.random((4, 100)) * (rng.random((4, 100)) < 0.4), dtype="f4")
    motifs = anndata.AnnData(scores, obs=index(regions), var=index(f"M{i}" for i in range(12)))
    cells = anndata.AnnData(opened, obs=index("ABCD"), var=index(regions))
    motifs.write_h5ad(tmp_path / "matrix.h5ad")
    cells.write_h5ad(tmp_path / "accessibility.h5ad")
    return {
        "matrix": str(tmp_path / "matrix.h5ad"),
        "accessibility": str(tmp_path / "accessibility.h5ad"),
    }


def draw(name, tables, logs, matrices, path):
    inputs = {
        "training_curves": {"metrics": logs},
        "roc_pr": {"curves": [tables["curves"]]},
        "calibration": {"curves": [tables["curves"]]},
        "forest": {"tables": [tables["wide"]]},
        "region_heatmap": matrices,
    }
    getattr(figures, name)(**inputs[name], figure=str(path))


NAMES = ["training_curves", "roc_pr", "calibration", "forest", "region_heatmap"]


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_svg_and_equal_byte_for_byte(name, tables, logs, matrices, tmp_path):
    for path in (tmp_path / "one.svg", tmp_path / "two.svg"):
        draw(name, tables, logs, matrices, path)
    one = (tmp_path / "one.svg").read_bytes()
    assert one == (tmp_path / "two.svg").read_bytes()
    assert b"<dc:date>" not in one
    drawing = ElementTree.fromstring(one)
    assert drawing.tag == f"{SVG}svg"
    shapes = [*drawing.iter(f"{SVG}path"), *drawing.iter(f"{SVG}image")]
    assert len(shapes) > 10


def test_png_too_but_nothing_unknown(tables, logs, matrices, tmp_path):
    draw("forest", tables, logs, matrices, tmp_path / "forest.png")
    assert (tmp_path / "forest.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match=r"unknown kind of figure.*\.svg"):
        draw("forest", tables, logs, matrices, tmp_path / "forest.jpeg")


def texts(path):
    """Return the comments that matplotlib writes beside text drawn as paths."""
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    tree = ElementTree.parse(path, parser)
    return [e.text.strip() for e in tree.iter() if e.tag is ElementTree.Comment]


def test_forest_has_a_panel_for_every_dataset_but_not_for_groups(tables, logs, matrices, tmp_path):
    draw("forest", tables, logs, matrices, tmp_path / "f.svg")
    shown = texts(tmp_path / "f.svg")
    titles = [text for text in shown if text.startswith("tfbs:")]
    assert titles == ["tfbs: chip", "tfbs: chip-zeroshot:llr"]
    assert shown.count("oracle") == 2
    assert shown.count("AUROC") == 2


def test_calibration_leaves_out_scores_that_are_no_probabilities(tables, logs, matrices, tmp_path):
    draw("calibration", tables, logs, matrices, tmp_path / "f.svg")
    assert [t for t in texts(tmp_path / "f.svg") if t.startswith("tfbs:")] == ["tfbs: chip"]


def test_training_curves_have_one_panel_per_loss(logs, tables, matrices, tmp_path):
    draw("training_curves", tables, logs, matrices, tmp_path / "f.svg")
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


def test_regions_must_be_the_same_in_both_matrices(matrices, tmp_path):
    cells = anndata.read_h5ad(matrices["accessibility"])
    names = [str(name) for name in cells.var_names[::-1]]
    other = anndata.AnnData(cells.X, obs=index("ABCD"), var=index(names))
    other.write_h5ad(tmp_path / "other.h5ad")
    with pytest.raises(InputError, match=r"matrix\.h5ad: regions differ"):
        figures.region_heatmap(
            matrix=matrices["matrix"],
            accessibility=str(tmp_path / "other.h5ad"),
            figure=str(tmp_path / "f.svg"),
        )


def test_enrichment_is_the_mean_z_score_of_open_regions():
    rng = np.random.default_rng(1)
    scores = rng.random((50, 5)) * (rng.random((50, 5)) < 0.5)
    scores[:, 4] = 1.0  # no spread
    opened = rng.random((3, 50)) * (rng.random((3, 50)) < 0.3)
    found = figures.motif_enrichment(sparse.csr_matrix(scores), sparse.csr_matrix(opened))
    z = (scores[:, :4] - scores[:, :4].mean(axis=0)) / scores[:, :4].std(axis=0)
    wanted = np.stack([z[row > 0].mean(axis=0) for row in opened])
    assert found[:, :4] == pytest.approx(wanted)
    assert (found[:, 4] == 0).all()


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
