"""The figures of the evaluation can be drawn from what the stages write, and are the same every time."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from evaluation_toys import make_frame, predict, write_home
from sklearn import metrics as sk

from genebert import figures
from genebert.curves import pr_curve, roc_curve
from genebert.drawing import model_styles
from genebert.errors import InputError
from genebert.evaluate import LONG, WIDE, evaluate, write_table
from genebert.result_tables import COMPARISONS, PRIMARY, ablation_table
from genebert.scores import MODEL_ORDER

SVG = "{http://www.w3.org/2000/svg}"
NAMES = ("roc_pr", "calibration", "forest", "ablation", "comparisons", "few_shot", "similarity")


def comparison(kind, rival, difference=None, **more):
    row = {"comparison": "", "kind": kind, "task": "tfbs", "dataset": "chip", "stratum": "all"}
    row |= {"fraction": "1", "metric": "auroc", "model": "genebert", "rival": rival, "note": ""}
    if difference is not None:
        row |= {"difference": difference, "low": difference - 0.1, "high": difference + 0.1}
        row |= {"detectable": 0.05}
    return row | more


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    root = tmp_path_factory.mktemp("figures")
    frame = make_frame(300, groups=("CTCF", "MAX"))
    home = write_home(root, frame, task="tfbs", name="chip")
    for number, model in enumerate(("genebert", "scratch", "genebert-mgm", "gc", "oracle")):
        tracks = [predict(frame, model, 1.0, number, track=t) for t in ("", "zeroshot:llr")]
        info = {"pretraining": model.removeprefix("genebert-")} if "-" in model else {}
        home.add(model, pd.concat(tracks), **info)
    arguments = home.arguments(root)
    evaluate(**arguments)
    ablation_table(tables=[arguments["wide"]], table=str(root / "ablation.tsv"))
    primary = [
        comparison("primary", plan.rival, 0.1, comparison=plan.name, metric="auprc")
        for plan in PRIMARY[:-1]
    ]
    primary.append(comparison("primary", "cnn", comparison="P5", note="no such dataset"))
    rest = [comparison("exploratory", rival, -0.1) for rival in ("scratch", "gc", "oracle")]
    write_table(root / "comparisons.tsv", COMPARISONS, [*primary, *rest])
    return {
        "curves": [arguments["curves"]],
        "tables": [arguments["wide"]],
        "long": arguments["long"],
        "ablations": str(root / "ablation.tsv"),
        "differences": str(root / "comparisons.tsv"),
    }


def draw(tables, folder, suffix="svg"):
    folder.mkdir(exist_ok=True)
    outputs = {name: str(folder / f"{name}.{suffix}") for name in NAMES}
    figures.evaluation_figures(**tables, **outputs)
    return outputs


@pytest.fixture(scope="module")
def drawn(tables, tmp_path_factory):
    return draw(tables, tmp_path_factory.mktemp("drawn"))


def texts(path):
    """Return the comments that matplotlib writes beside text drawn as paths."""
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    tree = ElementTree.parse(path, parser)
    return [e.text.strip() for e in tree.iter() if e.tag is ElementTree.Comment]


def test_models_that_no_order_lists_can_be_told_apart():
    names = ["CADD", "phyloP", "allele-frequency", "genebert-odd"]
    styles = model_styles([*names, "genebert", "oracle", "CADD", "tss-distance"])
    looks = {(s["color"], str(s["linestyle"]), s["marker"]) for s in styles.values()}
    assert len(looks) == len(styles) == 7
    every = model_styles([*MODEL_ORDER, *names])
    assert {name: every[name] for name in styles} == styles
    looks = {(s["color"], str(s["linestyle"]), s["marker"]) for s in every.values()}
    assert len(looks) == len(MODEL_ORDER) + len(names)
    assert "tss-distance" in MODEL_ORDER


def test_figures_are_svg_and_equal_byte_for_byte(drawn, tables, tmp_path):
    again = draw(tables, tmp_path)
    for name in NAMES:
        with open(drawn[name], "rb") as one, open(again[name], "rb") as two:
            first = one.read()
            assert first == two.read()
        assert b"<dc:date>" not in first
        assert ElementTree.fromstring(first).tag == f"{SVG}svg"


def test_png_too_but_nothing_unknown(tables, tmp_path):
    outputs = draw(tables, tmp_path, "png")
    with open(outputs["forest"], "rb") as handle:
        assert handle.read().startswith(b"\x89PNG")
    with pytest.raises(InputError, match=r"unknown kind of figure.*\.svg"):
        draw(tables, tmp_path, "jpeg")


def test_forest_has_a_panel_for_every_dataset_but_not_for_groups_and_variants(drawn):
    shown = texts(drawn["forest"])
    titles = [text for text in shown if text.startswith("tfbs:")]
    assert titles == ["tfbs: chip", "tfbs: chip-zeroshot:llr"]
    assert shown.count("oracle") == 2
    assert shown.count("AUROC") == 2
    assert "genebert-mgm" not in shown


def test_ablation_shows_the_variants(drawn):
    shown = texts(drawn["ablation"])
    assert {"full", "mgm", "scratch"} <= set(shown)
    assert not {"oracle", "gc"} & set(shown)


def test_curves_leave_out_variants_and_calibration_scores_that_are_no_probabilities(drawn):
    assert "genebert-mgm" not in texts(drawn["roc_pr"])
    shown = texts(drawn["calibration"])
    assert [t for t in shown if t.startswith("tfbs:")] == ["tfbs: chip"]


def test_comparisons_show_every_primary_one_and_why_one_has_no_value(drawn):
    shown = texts(drawn["comparisons"])
    for plan in PRIMARY:
        assert any(text.startswith(f"{plan.name}: ") for text in shown)
    assert "no such dataset" in shown
    assert "tfbs: chip" in shown


def test_without_label_fractions_the_few_shot_figure_says_so(drawn):
    assert any(text.startswith("no few-shot curves") for text in texts(drawn["few_shot"]))


def long_row(dataset, model, stratum, value):
    row = {"task": "promoter", "dataset": dataset, "stratum": stratum, "model": model, "n": 100}
    row |= {"metric": "auroc", "value": value, "low": value - 0.1, "high": value + 0.1}
    return row | {"pretraining": "x", "pretrain_seed": "all", "finetune_seed": "all"}


def test_few_shot_curves_have_numbers_of_labels_and_both_tracks(tables, tmp_path):
    rows, wide = [], []
    for dataset in ("epd", "epd-probe"):
        for model in ("genebert", "scratch"):
            strata = ("labels=50", "fraction=0.1", "all")
            rows += [long_row(dataset, model, s, 0.6 + i / 10) for i, s in enumerate(strata)]
            wide.append({"task": "promoter", "dataset": dataset, "model": model, "n_train": 2000})
    rows.append(long_row("epd", "gc", "all", 0.5))  # no point below all labels
    rows.append(long_row("epd", "cnn", "labels=50", float("nan")))
    rows.append(long_row("other", "genebert", "similarity=0-0.02", 0.7))
    wide.append({"task": "promoter", "dataset": "epd", "model": "gc", "n_train": 2000})
    write_table(tmp_path / "long.tsv", LONG, rows)
    write_table(tmp_path / "wide.tsv", WIDE, wide)
    points = figures.few_shot_points(
        figures.read_frame(str(tmp_path / "long.tsv"), LONG),
        figures.read_frame(str(tmp_path / "wide.tsv"), WIDE),
    )
    assert set(points["model"]) == {"genebert", "scratch"}
    own = points[(points["model"] == "genebert") & (points["dataset"] == "epd")]
    assert own["labels"].tolist() == [50, 200, 2000]
    assert own["value"].tolist() == pytest.approx([0.6, 0.7, 0.8])
    own_tables = {"long": str(tmp_path / "long.tsv"), "tables": [str(tmp_path / "wide.tsv")]}
    outputs = draw(tables | own_tables, tmp_path)
    shown = texts(outputs["few_shot"])
    assert "promoter: epd (all weights fitted)" in shown
    assert "promoter: epd (frozen encoders, linear probe)" in shown
    assert {"50", "200", "2,000"} <= set(shown)
    assert "promoter: other" in texts(outputs["similarity"])


def test_tables_with_other_columns_are_refused(tables, tmp_path):
    with pytest.raises(InputError, match=r"table\.tsv, line 1: has other columns"):
        draw(tables | {"curves": tables["tables"]}, tmp_path)


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
