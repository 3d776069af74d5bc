"""Views of the metrics of all datasets, comparisons and the HTML page."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from evaluation_toys import make_frame, predict, read, write_home

from genebert import result_tables
from genebert.errors import InputError
from genebert.evaluate import LONG, WIDE, evaluate, write_table


def wide_row(task, dataset, model, pretraining="none"):
    row = dict.fromkeys(WIDE, "NA")
    return row | {"task": task, "dataset": dataset, "model": model, "pretraining": pretraining}


def write(path, rows, columns=WIDE):
    write_table(path, columns, rows)
    return str(path)


def keys(path):
    return read(path)[["dataset", "model"]].agg(" ".join, axis=1).tolist()


def test_task_table_is_sorted_by_dataset_and_model(tmp_path):
    b = write(tmp_path / "b", [wide_row("promoter", "b", m) for m in ("gc", "genebert")])
    a = write(tmp_path / "a", [wide_row("promoter", "a", m) for m in ("cnn", "scratch")])
    out = tmp_path / "promoter.tsv"
    result_tables.task_table(tables=[b, a], table=str(out))
    assert keys(out) == ["a scratch", "a cnn", "b genebert", "b gc"]
    assert out.read_text().splitlines()[0].split("\t") == list(WIDE)


def test_fields_pass_through_unchanged(tmp_path):
    row = wide_row("promoter", "a", "cnn") | {"auroc": 0.12345, "flags": 'a;"b'}
    path = write(tmp_path / "a", [row])
    result_tables.task_table(tables=[path], table=str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == (tmp_path / "a").read_text()


def test_tables_of_another_version_are_refused(tmp_path):
    path = write(tmp_path / "old.tsv", [wide_row("promoter", "a", "cnn")], WIDE[:-1])
    with pytest.raises(InputError, match=r"old\.tsv, line 1: has other columns"):
        result_tables.task_table(tables=[path], table=str(tmp_path / "out"))
    (tmp_path / "old.tsv").write_text("a\tb\n1\n")
    with pytest.raises(InputError, match="line 2: wrong number of fields; found 1; expected 2"):
        result_tables.metrics_table(long=[path], table=str(tmp_path / "out"))
    with pytest.raises(InputError, match="cannot be read"):
        result_tables.html_tables(tables=[str(tmp_path / "none")], html=[str(tmp_path / "out")])


def test_ablation_holds_pretraining_variants_and_scratch(tmp_path):
    models = {
        "genebert": "full",
        "genebert-sequence": "sequence",
        "genebert-wrongcell": "full",
        "cell-average-pred": "full",
        "dosage-lr-weighted": "full",
        "scratch": "none",
        "gc": "none",
        "genebert-shuffled_matrix": "shuffled_matrix",
        "genebert-mgm": "mgm",
    }
    rows = [wide_row("tfbs", "chip", *pair) for pair in models.items()]
    first = wide_row("promoter", "epd", "genebert", "full")
    paths = [write(tmp_path / "t", rows), write(tmp_path / "p", [first])]
    out = tmp_path / "ablation.tsv"
    result_tables.ablation_table(tables=paths, table=str(out))
    assert keys(out) == [
        "epd genebert",
        "chip genebert",
        "chip genebert-sequence",
        "chip genebert-mgm",
        "chip genebert-shuffled_matrix",
        "chip scratch",
    ]
    assert read(out)["pretraining"].fillna("none").tolist()[1] == "full"


def test_metrics_table_joins_in_the_order_of_tasks(tmp_path):
    paths = []
    for task, dataset in (("splicing", "s"), ("promoter", "b"), ("promoter", "a")):
        row = dict.fromkeys(LONG, "x") | {"task": task, "dataset": dataset}
        paths.append(write(tmp_path / f"{dataset}.long", [row], LONG))
    result_tables.metrics_table(long=paths, table=str(tmp_path / "out"))
    assert read(tmp_path / "out")["dataset"].tolist() == ["a", "b", "s"]


def compare(homes, out, **more):
    arguments = {
        "datasets": [str(home.path / "dataset.parquet") for home in homes],
        "descriptions": [str(home.path / "dataset.json") for home in homes],
        "cohorts": [],
        "predictions": [path for home in homes for path in home.predictions],
        "fits": [path for home in homes for path in home.fits],
        "table": str(out),
        "seed": 1,
        "draws": 300,
    }
    result_tables.comparisons_table(**arguments | more)
    return pd.read_csv(out, sep="\t", dtype={"fraction": str, "note": str}).fillna({"note": ""})


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    root = tmp_path_factory.mktemp("comparisons")
    promoter = make_frame(1500)
    one = write_home(root, promoter)
    seeds = {"pretrain_seeds": (1, 2, 3)}
    for number, (model, full, few) in enumerate((("genebert", 1.5, 1.3), ("scratch", 1.4, 0.6))):
        parts = [
            predict(promoter, model, signal, number, fraction=fraction, **seeds)
            for signal, fraction in ((full, 1.0), (few, 0.1))
        ]
        one.add(model, pd.concat(parts), pretraining="full" if model == "genebert" else None)
    chip = make_frame(2000, seed=3, groups=("CTCF", "MAX"))
    chip["stratum"] = np.where(np.arange(2000) % 2, "both;discordant", "both")
    two = write_home(root, chip, task="tfbs", name="chip")
    signals = {"genebert": 1.6, "genebert-sequence": 0.8, "context-lr": 0.4, "gc": 0.2}
    signals |= {"cell-average": 3.0, "oracle": 3.0, "scratch": 1.5}
    for number, (model, signal) in enumerate(signals.items()):
        two.add(model, predict(chip, model, signal, number, **seeds))
    return [one, two]


@pytest.fixture(scope="module")
def table(homes, tmp_path_factory):
    return compare(homes, tmp_path_factory.mktemp("out") / "comparisons.tsv")


def test_five_primary_comparisons_come_first(table):
    primary = table.iloc[:5]
    assert primary["comparison"].tolist() == ["P1", "P2", "P3", "P4", "P5"]
    assert (primary["kind"] == "primary").all()
    assert (table.iloc[5:]["kind"] == "exploratory").all()
    assert primary["fraction"].tolist() == ["0.1", "1", "1", "1", "1"]
    assert primary["stratum"].tolist() == ["all", "all", *["both;discordant"] * 3]
    assert (primary["metric"] == "auprc").all()


def test_differences_have_intervals_and_adjusted_p(table):
    p1, p2, p3 = (table.iloc[i] for i in range(3))
    assert 0 < p1["low"] < p1["difference"] < p1["high"]
    assert p1["difference"] > p2["difference"]
    assert p3["low"] > 0
    made = table.iloc[:5].dropna(subset=["p"])
    assert len(made) == 4
    assert (made["p_holm"] >= made["p"]).all()
    smallest = made["p"].min()
    assert made["p_holm"].min() == pytest.approx(min(1, 5 * smallest), abs=2e-4)
    assert (made["detectable"] > 0).all()
    assert table.iloc[5:]["p_holm"].isna().all()


def test_few_seeds_and_few_draws_of_the_labels_are_noted(table, tmp_path):
    notes = table.iloc[:2]["note"].tolist()
    assert notes == ["fewer than 5 draws of the labels", ""]
    frame = make_frame(1500)
    home = write_home(tmp_path, frame)
    draws = {1.0: (1,), 0.1: (1, 2, 3, 4, 5)}
    for number, (model, seeds) in enumerate(
        {"genebert": (1, 2), "gc": (0,), "kmer-lr": (0,)}.items()
    ):
        parts = [
            predict(frame, model, 1.0, number, fraction=f, finetune_seeds=d, pretrain_seeds=seeds)
            for f, d in draws.items()
        ]
        home.add(model, pd.concat(parts), pretraining="full" if number == 0 else None)
    found = compare([home], tmp_path / "out.tsv").query("kind == 'exploratory'")
    assert set(found["note"]) == {"fewer than 3 pre-training seeds"}
    assert set(found["fraction"]) == {"1", "0.1"}


def test_what_cannot_be_compared_says_why(table, homes, tmp_path):
    p4 = table.iloc[3]
    assert np.isnan(p4["difference"])
    assert p4["note"] == "no predictions of genebert-shuffled_matrix"
    only = compare(homes[:1], tmp_path / "one.tsv").iloc[:5]
    assert only["note"].tolist()[2:] == ["no dataset of task tfbs with matched negatives"] * 3
    frame = make_frame(200)
    home = write_home(tmp_path, frame)
    home.add("genebert", predict(frame, "genebert", 1.0))
    home.add("scratch", predict(frame, "scratch", 1.0))
    notes = compare([home], tmp_path / "few.tsv").iloc[:5]["note"].tolist()
    assert notes[0] == "no predictions of genebert with 10% of the labels"


def test_too_few_positives_make_no_claim(tmp_path):
    frame = make_frame(100)
    home = write_home(tmp_path, frame)
    for model in ("genebert", "scratch"):
        home.add(model, predict(frame, model, 1.0))
    row = compare([home], tmp_path / "out.tsv").iloc[1]
    assert row["n_positive"] < 50
    assert row["note"] == "fewer than 50 positives or negatives"
    assert np.isfinite(row["difference"])
    assert np.isnan([row["low"], row["p"], row["p_holm"], row["detectable"]]).all()


def test_a_small_part_of_an_average_is_noted(tmp_path):
    frame = make_frame(1200, groups=("CTCF", "SPI1"))
    small = np.flatnonzero((frame["group"] == "SPI1") & (frame["split"] == "test"))
    frame.loc[small[9:], "label"] = 0.0
    home = write_home(tmp_path, frame, task="tfbs", name="chip")
    for model in ("genebert", "gc"):
        home.add(model, predict(frame, model, 1.0))
    rows = compare([home], tmp_path / "out.tsv").query("stratum == 'all' and rival == 'gc'")
    assert set(rows["note"]) == {"a part with fewer than 10 positives or negatives"}
    assert np.isfinite(rows["p"]).all()


def test_too_few_loci_make_no_claim_whatever_the_number_of_positives(tmp_path):
    frame = make_frame(1000)
    locus = np.where(np.arange(1000) < 200, np.arange(1000) // 5, 40 + np.arange(1000))
    frame["region"], frame["stratum"] = locus, "both"  # 40 places with several cell types
    home = write_home(tmp_path, frame, task="tfbs", name="chip", negatives="natural")
    for model in ("genebert", "gc"):
        home.add(model, predict(frame, model, 1.0))
    rows = compare([home], tmp_path / "out.tsv").query("kind == 'exploratory'")
    within = rows.set_index("stratum").loc["within-locus"]
    assert within["n_positive"] > 50
    assert within["n_blocks"] <= 40
    assert within["note"] == "fewer than 50 loci"
    assert np.isfinite(within["difference"])
    assert np.isnan([within["low"], within["p"]]).all()
    assert np.isfinite(rows.query("stratum == 'all' and metric == 'auprc'")["p"]).all()


def test_effects_are_compared_by_correlation(tmp_path):
    frame = make_frame(400)
    rows = [predict(frame, model, 1.5, number) for number, model in enumerate(("genebert", "gc"))]
    frame["label"] = frame["effect"] = frame["label"] * 2 - 1
    home = write_home(tmp_path, frame, kind="variants", task="disease", name="mpra", label="effect")
    for model, part in zip(("genebert", "gc"), rows, strict=True):
        home.add(model, part)
    found = compare([home], tmp_path / "out.tsv").query("kind == 'exploratory'")
    assert found["metric"].tolist() == ["spearman"]
    assert found["n_positive"].isna().all()
    assert np.isfinite(found[["low", "p"]].to_numpy(float)).all()


def test_best_rival_is_chosen_on_validation_among_fair_ones(table, homes):
    p5 = table.iloc[4]
    assert p5["rival"] == "context-lr"  # not the oracle, cell-average or scratch
    assert p5["note"].startswith("context-lr is the best of the rivals on validation")


def test_unmatched_negatives_are_never_primary(tmp_path):
    frame = make_frame(400)
    home = write_home(tmp_path, frame, negatives="random")
    for model in ("genebert", "scratch"):
        home.add(model, predict(frame, model, 1.0))
    rows = compare([home], tmp_path / "out.tsv")
    assert rows["difference"].iloc[:5].isna().all()
    assert np.isfinite(rows["difference"].iloc[5:]).all()


def test_point_estimates_are_those_of_the_tables(table, homes):
    home = homes[0]
    arguments = home.arguments(home.path / "out")
    evaluate(**arguments)
    auprc = read(arguments["wide"]).set_index("model")["auprc"]
    wanted = auprc["genebert"] - auprc["scratch"]
    assert table.iloc[1]["difference"] == pytest.approx(wanted, abs=2e-4)


def test_pairing_makes_differences_sharper(tmp_path):
    """Two models that err on the same items: the difference is known better than each value."""
    frame = make_frame(1000)
    home = write_home(tmp_path, frame)
    rows = predict(frame, "genebert", 1.0)
    home.add("genebert", rows)
    noise = np.random.default_rng(1).normal(0, 0.02, len(rows))
    home.add("scratch", rows.assign(model="scratch", score=np.clip(rows["score"] + noise, 0, 1)))
    arguments = home.arguments(home.path / "out")
    evaluate(**arguments)
    wide = read(arguments["wide"])
    unpaired = np.hypot(*(wide["auprc_high"] - wide["auprc_low"]))
    row = compare([home], tmp_path / "out.tsv").iloc[1]
    assert row["high"] - row["low"] < unpaired / 4


def test_equal_models_do_not_differ(tmp_path):
    frame = make_frame(400)
    home = write_home(tmp_path, frame)
    rows = predict(frame, "genebert", 1.0)
    home.add("genebert", rows)
    home.add("scratch", rows.assign(model="scratch"))
    row = compare([home], tmp_path / "out.tsv").iloc[1]
    assert row[["difference", "low", "high"]].tolist() == [0, 0, 0]
    assert row["p"] == 1


def test_predictions_of_no_dataset_are_refused(homes, tmp_path):
    with pytest.raises(InputError, match="predictions of no dataset"):
        compare(homes[:1], tmp_path / "x", predictions=homes[1].predictions, fits=homes[1].fits)


def test_comparisons_are_equal_byte_for_byte(homes, table, tmp_path):
    for name in ("one", "two"):
        compare(homes[:1], tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


class Page(HTMLParser):
    """Counts tags and keeps the text of cells and all attributes."""

    def __init__(self):
        super().__init__()
        self.cells, self.attributes, self.inside = [], [], False

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        self.inside = tag == "td"
        if self.inside:
            self.cells.append("")

    def handle_data(self, data):
        if self.inside:
            self.cells[-1] += data

    def handle_endtag(self, tag):
        self.inside = False


def test_html_is_self_contained_and_escaped(tmp_path):
    (tmp_path / "t.tsv").write_text('a\t<b>\n<script>x</script>\t0.5\n"q"\tNA\n')
    html = tmp_path / "t.html"
    result_tables.html_tables(
        tables=[str(tmp_path / "t.tsv")], html=[str(html)], caption="demo: not evidence <i>"
    )
    text = html.read_text()
    page = Page()
    page.feed(text)
    assert page.cells == ["<script>x</script>", "0.5", '"q"', "NA"]
    assert "<script>x" not in text
    assert "demo: not evidence &lt;i&gt;" in text
    links = [value for name, value in page.attributes if name in ("src", "href")]
    assert all(link.startswith("data:") for link in links)
    assert base64.b64decode(links[0].split(",")[1]) == (tmp_path / "t.tsv").read_bytes()
    assert not re.search(r"https?:|@import|url\(", text)
    assert ("class", "number") in page.attributes
    assert ("class", "missing") in page.attributes
