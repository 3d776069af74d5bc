"""The tables of one dataset: what they hold, what is NA, and what must not change them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evaluation_toys import THRESHOLD, make_frame, predict, run, top_k, value, write_home
from sklearn import metrics as sk

from genebert import metrics
from genebert.errors import InputError
from genebert.evaluate import evaluate

# columns of the result tables (docs/files.md), letter by letter
WIDE = (
    "task dataset model pretraining n_seeds n_train n_test n_positive auroc auroc_low auroc_high "
    "auprc auprc_low auprc_high mcc mcc_low mcc_high f1 accuracy precision recall brier"
)
LONG = (
    "task dataset stratum model pretraining pretrain_seed finetune_seed metric value low high n "
    "flags"
)


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    frame = make_frame(1500)
    home = write_home(tmp_path_factory.mktemp("binary"), frame)
    home.add("oracle", predict(frame, "oracle", 3.0, 7))
    home.add("gc", predict(frame, "gc", 0.3, 8))
    home.add(
        "genebert", predict(frame, "genebert", 2.0, 1, pretrain_seeds=(1, 2)), pretraining="full"
    )
    home.add(
        "genebert-sequence",
        predict(frame, "genebert-sequence", 1.0, 2, pretrain_seeds=(1,)),
        pretraining="sequence",
    )
    return frame, home, *run(home)


def test_columns_are_those_of_the_design(binary):
    _, home, wide, long = binary
    header = (home.path / "out" / "table.tsv").read_text().splitlines()[0].split("\t")
    assert header[:22] == WIDE.split()
    assert {"n_pretrain_seeds", "n_blocks", "prevalence", "flags", "ece"} <= set(header[22:])
    assert list(long.columns) == LONG.split()
    assert wide["model"].tolist() == ["genebert", "genebert-sequence", "gc", "oracle"]
    assert wide["pretraining"].tolist() == ["full", "sequence", "none", "none"]


def test_numbers_are_written_with_four_decimals(binary):
    _, home, _, _ = binary
    for line in (home.path / "out" / "table.tsv").read_text().splitlines()[1:]:
        fields = dict(zip(WIDE.split(), line.split("\t"), strict=False))
        assert len(fields["auroc"].partition(".")[2]) == 4
        assert fields["n_test"] == "1200"


def test_estimate_is_the_mean_over_seeds_of_the_metric_of_each(binary):
    frame, _, wide, long = binary
    rows = predict(frame, "genebert", 2.0, 1, pretrain_seeds=(1, 2)).merge(frame[["item", "label"]])
    wanted = {"auroc": [], "mcc": [], "brier": []}
    for _, part in rows.groupby("pretrain_seed"):
        valid, test = (part[part["split"] == name] for name in ("valid", "test"))
        threshold = metrics.best_threshold(valid["label"] == 1, valid["score"].to_numpy())
        wanted["auroc"].append(sk.roc_auc_score(test["label"], test["score"]))
        wanted["mcc"].append(sk.matthews_corrcoef(test["label"], test["score"] >= threshold))
        wanted["brier"].append(sk.brier_score_loss(test["label"], test["score"]))
    own = wide[wide["model"] == "genebert"].iloc[0]
    for metric, values in wanted.items():
        assert own[metric] == pytest.approx(np.mean(values), abs=6e-5)
        for seed, single in zip("12", values, strict=True):
            row = value(long, model="genebert", metric=metric, pretrain_seed=seed)
            assert row["value"] == pytest.approx(single, abs=6e-5)
            assert np.isnan(row["low"])
    assert own["n_seeds"] == own["n_pretrain_seeds"] == 2


def test_intervals_hold_the_estimate_and_flags_tell(binary):
    _, _, wide, _ = binary
    for metric in ("auroc", "auprc", "mcc"):
        assert (wide[f"{metric}_low"] < wide[metric]).all()
        assert (wide[metric] < wide[f"{metric}_high"]).all()
    assert wide.set_index("model")["flags"].fillna("").to_dict() == {
        "genebert": "few_seeds",
        "genebert-sequence": "few_seeds",
        "gc": "",
        "oracle": "",
    }


def test_recovered_share_of_oracle_minus_gc(binary):
    _, _, wide, long = binary
    auroc = wide.set_index("model")["auroc"]
    share = (auroc["genebert"] - auroc["gc"]) / (auroc["oracle"] - auroc["gc"])
    row = value(long, model="genebert", metric="recovered")
    assert row["value"] == pytest.approx(share, abs=1e-3)
    assert row["low"] < row["value"] < row["high"]
    assert value(long, model="oracle", metric="recovered")["value"] == 1


def test_order_of_rows_and_of_files_changes_nothing_and_runs_are_equal(tmp_path):
    frame = make_frame(300)
    texts = []
    for order in range(3):
        home = write_home(tmp_path / str(order), frame.sample(frac=1, random_state=order))
        models = ["cnn", "gc"][:: -1 if order == 1 else 1]
        for model in models:
            rows = predict(frame, model, 1.0, len(model), finetune_seeds=(1, 2)).round(2)
            home.add(model, rows.sample(frac=1, random_state=order))
        arguments = home.arguments(home.path / "out", draws=50)
        evaluate(**arguments)
        texts.append([Path(arguments[key]).read_bytes() for key in ("long", "wide", "curves")])
    assert texts[0] == texts[1]
    assert texts[0] == texts[2]


def test_a_new_model_does_not_change_the_others(tmp_path):
    frame = make_frame(300)
    home = write_home(tmp_path, frame)
    home.add("cnn", predict(frame, "cnn", 1.0))
    before, _ = run(home)
    home.add("genebert", predict(frame, "genebert", 1.0, pretrain_seeds=(1, 2, 3)))
    after, _ = run(home)
    pd.testing.assert_frame_equal(before, after[after["model"] == "cnn"].reset_index(drop=True))


def test_other_seeds_of_the_bootstrap_move_only_the_intervals(tmp_path):
    frame = make_frame(300)
    home = write_home(tmp_path, frame)
    home.add("cnn", predict(frame, "cnn", 1.0))
    one, other = run(home)[0], run(home, seed=2)[0]
    assert one["auroc"].tolist() == other["auroc"].tolist()
    assert one["auroc_low"].tolist() != other["auroc_low"].tolist()


def test_seeds_that_differ_widen_the_interval(tmp_path):
    frame = make_frame(1500)
    home = write_home(tmp_path, frame)
    home.add("cnn", predict(frame, "cnn", 1.0, 1, pretrain_seeds=(1, 2, 3)))
    rows = [predict(frame, "gc", s, 1, pretrain_seeds=(i,)) for i, s in enumerate((0.4, 1, 1.6))]
    home.add("gc", pd.concat(rows))
    wide, _ = run(home)
    width = (wide["auroc_high"] - wide["auroc_low"]).tolist()
    assert width[1] > 2 * width[0]


def test_one_class_is_na(tmp_path):
    frame = make_frame(100)
    frame.loc[frame["split"] == "test", "label"] = 1.0
    home = write_home(tmp_path, frame)
    home.add("cnn", predict(frame, "cnn", 1.0))
    row = run(home)[0].iloc[0]
    assert np.isnan(row[["auroc", "auprc", "mcc", "f1"]].astype(float)).all()
    assert np.isfinite(row["accuracy"])


def test_without_validation_there_is_no_threshold(tmp_path):
    frame = make_frame(400)
    home = write_home(tmp_path, frame)
    rows = predict(frame, "cnn", 1.0)
    home.add("cnn", rows[rows["split"] == "test"])
    row = run(home)[0].iloc[0]
    assert row["flags"] == "no_threshold"
    assert np.isnan(row[THRESHOLD].astype(float)).all()
    assert np.isfinite(row[["auroc_low", "brier"]].astype(float)).all()


def test_zero_shot_scores_have_no_threshold_and_no_probability(tmp_path):
    frame = make_frame(400)
    home = write_home(tmp_path, frame, task="disease", name="variants", kind="variants")
    tracks = [predict(frame, "genebert", 1.0, track=t) for t in ("supervised", "zeroshot:llr")]
    home.add("genebert", pd.concat(tracks), pretraining="full")
    wide, _ = run(home)
    assert wide["dataset"].tolist() == ["variants-supervised", "variants-zeroshot:llr"]
    assert np.isfinite(wide.loc[0, [*THRESHOLD, "brier", "ece"]].astype(float)).all()
    assert np.isnan(wide.loc[1, [*THRESHOLD, "brier", "ece"]].astype(float)).all()
    assert np.isfinite(wide.loc[1, ["auroc", "auroc_low"]].astype(float)).all()


def test_scores_of_folds_are_also_compared_within_contigs_only(tmp_path):
    """An intercept that differs between left-out contigs moves the pooled AUROC alone."""
    frame = make_frame(600)
    frame["contig"] = np.where(np.arange(600) % 3, "chr1", "chr2")
    home = write_home(tmp_path, frame, task="disease", name="variants", kind="variants")
    rows = predict(frame, "gc", 1.0, track="supervised").assign(split="test")
    home.add("gc", rows.assign(score=rows["score"] / 4 + (frame["contig"] == "chr1") * 0.5))
    wide, long = run(home)
    wanted = {"auroc_by_contig": [], "auprc_by_contig": []}
    for contig in ("chr1", "chr2"):
        at = frame["contig"] == contig
        pair = frame.loc[at, "label"] == 1, rows.loc[at, "score"]
        wanted["auroc_by_contig"].append(sk.roc_auc_score(*pair))
        wanted["auprc_by_contig"].append(sk.average_precision_score(*pair))
    for metric, values in wanted.items():
        found = value(long, metric=metric)["value"]
        assert found == pytest.approx(np.average(values, weights=[400, 200]), abs=6e-5)
    assert wide.loc[0, "auroc"] < np.mean(wanted["auroc_by_contig"]) - 0.05


@pytest.mark.parametrize("positives", [49, 100])
def test_metrics_of_variants_and_sites_have_intervals_from_50_positives(tmp_path, positives):
    variants, sites = make_frame(600), make_frame(1500, classes=3)
    variants["contig"] = np.where(np.arange(600) % 3, "chr1", "chr2")
    variants["label"] = (np.arange(600) < positives) * 1.0
    order = sites.groupby(["split", "label"]).cumcount()
    sites = sites[(sites["label"] == 0) | (order < positives)]
    more = {"kind": "multiclass", "classes": ["none", "donor", "acceptor"]}
    home = write_home(tmp_path / "v", variants, task="disease", name="v", kind="variants")
    home.add("gc", predict(variants, "gc", 1.0).assign(split="test"))
    long = run(home)[1]
    home = write_home(tmp_path / "s", sites, task="splicing", name="s", **more)
    home.add("gc", predict(sites, "gc", 1.0, classes=3))
    long = pd.concat([long, run(home)[1]])
    names = {"v": ("auroc_by_contig", "auprc_by_contig", "ece"), "s": ("top_k", "ece")}
    for row in (value(long, dataset=d, metric=m) for d, each in names.items() for m in each):
        assert np.isfinite(row["value"])
        if positives < 50:
            assert np.isnan([row["low"], row["high"]]).all()
        else:
            assert row["low"] < row["value"] < row["high"]


def test_scores_beyond_one_have_no_brier(tmp_path):
    frame = make_frame(300)
    home = write_home(tmp_path, frame)
    rows = predict(frame, "pwm", 1.0)
    home.add("pwm", rows.assign(score=rows["score"] * 20))
    row = run(home)[0].iloc[0]
    assert np.isnan([row["brier"], row["ece"]]).all()
    assert np.isfinite(row["mcc"])


def test_ranks_and_centred_scores_are_no_probabilities(tmp_path):
    frame = make_frame(400)
    centred = write_home(tmp_path, frame, task="disease", name="cohort", kind="variants")
    chip = write_home(tmp_path, frame, task="tfbs", name="chip")
    atlas = write_home(tmp_path, frame, task="accessibility", name="atlas")
    # of variants, `accessibility` is a regression on openness
    rows = [predict(frame, "accessibility", 1.0, track=track) for track in ("", "lopo")]
    centred.add("accessibility", pd.concat(rows))
    for home, model in ((chip, "accessibility"), (chip, "gc"), (atlas, "nearest-type")):
        home.add(model, predict(frame, model, 1.0))
    wide = pd.concat(run(home)[0] for home in (centred, chip, atlas))
    wide = wide.set_index(["dataset", "model"])
    known = np.isfinite(wide[["brier", "ece"]].astype(float)).all(axis=1)
    assert known[known].index.tolist() == [("cohort", "accessibility"), ("chip", "gc")]
    assert len(wide) == 5
    assert np.isfinite(wide["mcc"]).all()


def test_groups_are_macro_averaged_with_a_row_each(tmp_path):
    frame = make_frame(1200, groups=("CTCF", "SPI1", "MAX"))
    home = write_home(tmp_path, frame, task="tfbs", name="chip")
    rows = predict(frame, "cnn", 1.0)
    rows["score"] *= np.where(frame["group"] == "MAX", 0.1, 1.0)  # pooled scores would not do
    home.add("cnn", rows)
    wide, _ = run(home)
    assert wide["dataset"].tolist() == ["chip", "chip:CTCF", "chip:MAX", "chip:SPI1"]
    for metric in ("auroc", "auprc", "mcc", "f1", "accuracy", "precision", "recall", "brier"):
        assert wide.loc[0, metric] == pytest.approx(wide.loc[1:, metric].mean(), abs=1e-4)
    assert wide.loc[0, "n_test"] == wide.loc[1:, "n_test"].sum()
    assert wide.loc[0, "n_positive"] == wide.loc[1:, "n_positive"].sum()
    assert wide.loc[0, "auroc_high"] - wide.loc[0, "auroc_low"] < (
        (wide["auroc_high"] - wide["auroc_low"])[1:].min()
    )


def test_classes_are_macro_averaged_with_a_row_each(tmp_path):
    frame = make_frame(900, classes=3)
    more = {"kind": "multiclass", "classes": ["none", "donor", "acceptor"]}
    missed = {"missed_noncanonical": {"donor": 60}, "missed_unscanned": {"donor": 40}}
    home = write_home(tmp_path, frame, task="splicing", name="sites", **more, **missed)
    rows = predict(frame, "cnn", 1.5, classes=3)
    home.add("cnn", rows)
    wide, long = run(home)
    names = ["sites", "sites:acceptor", "sites:donor", "sites:none"]
    assert wide["dataset"].tolist() == names
    rows = rows.merge(frame[["item", "label"]]).query("split == 'test'")
    score, label = rows[["score_0", "score_1", "score_2"]].to_numpy(), rows["label"].astype(int)
    macro = wide.loc[0]
    for metric in ("auroc", "auprc", "mcc", "f1", "precision", "recall", "brier"):
        assert macro[metric] == pytest.approx(wide.loc[1:, metric].mean(), abs=1e-4)
    wanted = sk.roc_auc_score(label, score, multi_class="ovr", average="macro")
    assert macro["auroc"] == pytest.approx(wanted, abs=6e-5)
    called = score.argmax(axis=1)
    assert macro["f1"] == pytest.approx(sk.f1_score(label, called, average="macro"), abs=6e-5)
    assert macro["accuracy"] == pytest.approx((called == label).mean(), abs=6e-5)
    assert np.isnan(macro["n_positive"])
    mcc = value(long, dataset="sites", metric="mcc_multiclass")
    assert mcc["value"] == pytest.approx(sk.matthews_corrcoef(label, called), abs=6e-5)
    donor, acceptor = (
        top_k(label == k, score[:, k], (label == k).sum() + more) for k, more in ((1, 100), (2, 0))
    )
    found = value(long, dataset="sites:donor", metric="top_k")["value"]
    assert found == pytest.approx(donor, abs=6e-5)
    found = value(long, dataset="sites", metric="top_k")["value"]
    assert found == pytest.approx((donor + acceptor) / 2, abs=6e-5)  # "none" is no site


def test_where_nearly_all_are_no_site_the_average_is_of_sites(tmp_path):
    """A class that fills the set is found by anything, and would lift the mean of three."""
    frame = make_frame(900, classes=3)
    more = {"kind": "multiclass", "classes": ["none", "donor", "acceptor"], "negatives": "natural"}
    missed = {"missed_noncanonical": {"donor": 60}}
    home = write_home(tmp_path, frame, task="splicing", name="sites", **more, **missed)
    rows = predict(frame, "cnn", 1.5, classes=3)
    home.add("cnn", rows)
    wide, _ = run(home)
    rows = rows.merge(frame[["item", "label"]]).query("split == 'test'")
    donor, acceptor = (
        sk.average_precision_score(rows["label"] == k, rows[f"score_{k}"]) for k in (1, 2)
    )
    count = (rows["label"] == 1).sum()
    donor *= count / (count + 60)  # no threshold finds what was never scored
    by_name = wide.set_index("dataset")["auprc"]
    assert by_name["sites:donor"] == pytest.approx(donor, abs=6e-5)
    assert by_name["sites"] == pytest.approx((donor + acceptor) / 2, abs=6e-5)


def test_missed_sites_are_those_of_the_headline_alone(tmp_path):
    frame = make_frame(900, classes=3)
    frame["stratum"] = np.where(np.arange(900) % 2, "odd", "")
    more = {"kind": "multiclass", "classes": ["none", "donor", "acceptor"]}
    missed = {"missed_noncanonical": {"donor": 100}}
    home = write_home(tmp_path, frame, task="splicing", name="sites", **more, **missed)
    home.add("pwm", predict(frame, "pwm", 50.0, classes=3))  # all right
    _, long = run(home)
    assert value(long, dataset="sites", metric="top_k", stratum="odd")["value"] == 1
    assert value(long, dataset="sites", metric="top_k")["value"] < 1


def test_of_classes_with_one_score_the_last_is_called(tmp_path):
    frame = make_frame(300, classes=3)
    more = {"kind": "multiclass", "classes": ["none", "donor", "acceptor"]}
    home = write_home(tmp_path, frame, task="splicing", name="sites", **more)
    rows = predict(frame, "gt-ag", 0.0, classes=3)
    rows[["score_0", "score_1", "score_2"]] = 0.0
    site = frame["label"].isin((1, 2)).to_numpy()
    rows["score_0"] = np.where(site, 0.5, 1.0)  # the rule allows none everywhere
    for k in (1, 2):
        rows[f"score_{k}"] = np.where(frame["label"] == k, 0.5, 0.0)
    home.add("gt-ag", rows)
    assert run(home)[0].loc[0, ["accuracy", "mcc", "recall"]].tolist() == [1, 1, 1]


@pytest.fixture(scope="module")
def strata(tmp_path_factory):
    """TF binding in four cell types at the same loci; half of the loci are held out."""
    frame = make_frame(2400, groups=("CTCF", "SPI1"))
    region = np.arange(2400) // 8
    tags = np.array(["chromosome", "cell-type", "both", "chromosome"], dtype=object)[region % 4]
    frame["region"] = region
    frame["group"] = np.where(np.arange(2400) // 4 % 2, "CTCF", "SPI1")
    frame["start"], frame["end"] = region * 1000, region * 1000 + 200
    frame["contig"] = np.where(tags == "cell-type", "chr1", "chr4")
    discordant = np.arange(2400) % 3 == 0
    frame["stratum"] = np.where(discordant, tags + ";discordant", tags)
    frame.loc[frame["split"] == "valid", "stratum"] = ""
    root = tmp_path_factory.mktemp("strata")
    home = write_home(root, frame, task="tfbs", name="chip", negatives="natural")
    sequence = predict(frame, "gc", 0.0)
    rng = np.random.default_rng(1).random((600, 1))
    home.add("gc", sequence.assign(score=rng[np.arange(2400) // 4, 0]))
    home.add("genebert", predict(frame, "genebert", 1.5), pretraining="full")
    return frame, *run(home, draws=100)


def test_headline_of_tf_binding_is_held_out_chromosomes(strata):
    frame, wide, long = strata
    test = frame[frame["split"] == "test"]
    held = test["stratum"].str.contains("chromosome|both")
    assert wide.loc[wide["dataset"] == "chip", "n_test"].tolist() == [held.sum()] * 2
    sizes = {
        "both": test["stratum"].str.startswith("both").sum(),
        "cell-type": test["stratum"].str.startswith("cell-type").sum(),
        "chromosome": test["stratum"].str.startswith("chromosome").sum(),
        "discordant": (held & test["stratum"].str.contains("discordant")).sum(),
        "both;discordant": (test["stratum"] == "both;discordant").sum(),
        "cell-type;discordant": (test["stratum"] == "cell-type;discordant").sum(),
        "chromosome;discordant": (test["stratum"] == "chromosome;discordant").sum(),
    }
    for stratum, n in sizes.items():
        row = value(long, dataset="chip", model="genebert", metric="auroc", stratum=stratum)
        assert row["n"] == n
        assert row["low"] < row["value"] < row["high"]
    assert not (long["dataset"].str.contains(":") & (long["stratum"] != "all")).any()


def test_headline_of_accessibility_is_held_out_in_both(tmp_path):
    frame = make_frame(900)
    frame["stratum"] = np.array(["chromosome", "both", "cell-type"])[np.arange(900) // 5 % 3]
    home = write_home(tmp_path / "a", frame, task="accessibility", name="atlas")
    home.add("mean-breadth", predict(frame, "mean-breadth", 1.0))
    wide, long = run(home)
    assert wide["n_test"].tolist() == [240]
    assert wide["flags"].str.contains("oracle-labels").all()
    assert {"both", "chromosome", "cell-type"} <= set(long["stratum"])
    frame["stratum"] = "chromosome"  # no cell type is held out
    home = write_home(tmp_path / "b", frame, task="accessibility", name="atlas")
    home.add("gc", predict(frame, "gc", 1.0))
    assert run(home)[0]["n_test"].tolist() == [720]


def test_tags_of_both_kinds_mean_both():
    from genebert.bootstrap import held_out

    assert held_out(frozenset({"chromosome", "cell-type", "discordant"})) == "both"
    assert held_out(frozenset({"both"})) == "both"
    assert held_out(frozenset({"cell-type"})) == "cell-type"
    assert held_out(frozenset({"vs-inactive"})) == ""


def test_within_one_locus_a_sequence_score_is_worth_nothing(strata):
    _, wide, long = strata
    for stratum in ("within-locus", "both;within-locus"):
        gc = value(long, model="gc", metric="auroc", stratum=stratum)
        assert (gc["value"], gc["low"], gc["high"]) == (0.5, 0.5, 0.5)
        own = value(long, model="genebert", metric="auroc", stratum=stratum)
        assert own["low"] > 0.6
    assert wide.loc[wide["model"] == "gc", "auroc"].iloc[0] != 0.5


def test_a_matched_set_compares_cell_types_in_whole_loci_only(tmp_path):
    """What lies beside the set is in no stratum but `discordant` and `within-locus`."""
    frame = make_frame(2400)
    number = np.arange(2400)
    frame["split"] = np.where(number < 400, "valid", "test")
    frame["region"] = number // 8
    frame["start"], frame["end"] = frame["region"] * 1000, frame["region"] * 1000 + 200
    whole, beside = frame["region"] % 2 == 0, (frame["region"] % 2 == 0) & (number % 4 > 0)
    tags = np.where(frame["region"] % 4 < 2, "both", "chromosome").astype(object)
    tags = tags + np.where(whole, ";discordant;whole-locus", "") + np.where(beside, ";beside", "")
    frame["stratum"] = np.where(frame["split"] == "test", tags, "")
    home = write_home(tmp_path, frame, task="tfbs", name="chip", negatives="matched")
    home.add("gc", predict(frame, "gc", 1.0))
    wide, long = run(home)
    test = (frame["split"] == "test").to_numpy()
    both = test & frame["stratum"].str.startswith("both").to_numpy()
    assert wide["n_test"].tolist() == [(test & ~beside).sum()]
    sizes = {
        "both": both & ~beside,
        "chromosome": test & ~both & ~beside,
        "discordant": test & whole,
        "both;discordant": both & whole,
        "chromosome;discordant": test & ~both & whole,
    }
    assert set(long["stratum"]) == {"all", "valid", "within-locus", "both;within-locus", *sizes}
    for stratum, mask in sizes.items():
        assert value(long, metric="auroc", stratum=stratum)["n"] == mask.sum()
    mixed = frame[test & whole].groupby("region")["label"].nunique() == 2
    assert value(long, metric="auroc", stratum="within-locus")["n"] == mixed.sum()


def test_fewer_labels_are_in_the_long_table_only(tmp_path):
    frame = make_frame(400)
    home = write_home(tmp_path, frame)
    parts = [predict(frame, "cnn", s, fraction=f) for s, f in ((1.5, 1.0), (0.5, 0.1), (1, 200.0))]
    home.add("cnn", pd.concat(parts))
    wide, long = run(home)
    assert len(wide) == 1
    found = {s: value(long, stratum=s, metric="auroc") for s in ("fraction=0.1", "labels=200")}
    assert found["fraction=0.1"]["value"] < found["labels=200"]["value"] < wide.loc[0, "auroc"]
    assert np.isfinite(found["fraction=0.1"]["low"])


def test_too_few_labels_are_na(tmp_path):
    frame = make_frame(400)
    home = write_home(tmp_path, frame)
    fits = pd.concat([predict(frame, name, 1.5) for name in ("genebert", "genebert-wrongcell")])
    home.add("genebert", fits, too_few=[0.01, 50.0])
    home.add("gc", predict(frame, "gc", 0.5))
    _, long = run(home)
    rows = long[long["stratum"].isin(["fraction=0.01", "labels=50"])]
    assert set(rows["metric"]) == {"auroc", "auprc"}
    assert set(rows["model"]) == {"genebert"}
    assert len(rows) == 4
    assert rows[["value", "low", "high"]].isna().all(axis=None)


def test_similarity_bins_are_strata_where_there_are_several(tmp_path):
    frame = make_frame(1000)
    test = frame["split"] == "test"
    frame["similarity"] = np.where(test, np.where(np.arange(1000) % 2, 0.0, 0.3), np.nan)
    frame.loc[1, "similarity"] = 1.0
    home = write_home(tmp_path / "a", frame)
    home.add("cnn", predict(frame, "cnn", 1.0))
    _, long = run(home)
    bins = frame["similarity"][test]
    counts = {"0-0.02": (bins == 0).sum(), "0.1-0.5": (bins == 0.3).sum(), "0.5-1": 1}
    found = long[(long["metric"] == "accuracy") & (long["pretrain_seed"] == "all")]
    found = found.set_index("stratum")["n"].to_dict()
    assert found == {"all": 800, **{f"similarity={name}": n for name, n in counts.items()}}
    home = write_home(tmp_path / "b", frame.assign(similarity=frame["similarity"] * 0))
    home.add("cnn", predict(frame, "cnn", 1.0))
    _, long = run(home)
    assert set(long["stratum"]) == {"all", "valid"}


def test_curves_end_where_they_must(binary):
    _, home, wide, _ = binary
    curves = pd.read_csv(home.path / "out" / "curves.tsv", sep="\t")
    for model, part in curves.groupby("model"):
        roc, pr, bins = (part[part["curve"] == name] for name in ("roc", "pr", "reliability"))
        assert roc["y"].iloc[-1] == 1
        assert (np.diff(roc["y"]) >= 0).all()
        own = wide[wide["model"] == model].iloc[0]
        assert np.trapezoid(roc["y"], roc["x"]) == pytest.approx(own["auroc"], abs=0.01)
        assert np.trapezoid(pr["y"], pr["x"]) == pytest.approx(own["auprc"], abs=0.02)
        assert own["prevalence"] <= pr["y"].iloc[-1] < pr["y"].iloc[1]
        assert bins["n"].sum() == own["n_test"]


def test_another_dataset_is_refused(tmp_path):
    frame = make_frame(50)
    home = write_home(tmp_path, frame)
    home.add("cnn", predict(frame, "cnn", 1.0))
    with pytest.raises(InputError, match="is of another dataset; found 'promoter/epd'"):
        run(home, name="other")
