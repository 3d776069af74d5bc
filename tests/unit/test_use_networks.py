"""A user's files and a small run: attributions, predictions of networks, tracks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyBigWig
import pytest
import torch

import genebert
from genebert import finetuned, tokens
from genebert.errors import InputError
from genebert.genome import encode, reverse_complement
from genebert.shards import Shards
from genebert.use import attributions, predictions, tracks
from genebert.use.bigwig import write_bigwig
from genebert.use.head import Head
from use_toys import (
    WIDTH,
    ToyRun,
    fitted_file,
    make_fitted,
    make_run,
    other,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ToyRun:
    return make_run(tmp_path_factory.mktemp("toy-run"))


# attributions


def test_gradients_are_the_first_order_of_mutations(run):
    """Along the line from a k-mer's vector to its mutant's, the slope at the start is the effect."""
    encoders, head = run.encoders, Head.load(run.head)
    target = attributions.accessibility_target(encoders, head, ("B",))
    codes = encode(run.genome["a"][100 : 100 + WIDTH])
    effects = attributions.by_gradient(target, codes)
    assert effects.shape == (WIDTH, 4)
    assert np.allclose(effects[np.arange(WIDTH), codes], 0, atol=1e-9)
    table = encoders.model.sequence.embedding.weight
    before, shift = table.detach().clone(), 1e-3
    for position, base in ((0, 1), (7, 2), (WIDTH - 1, 3)):
        mutant = codes.copy()
        mutant[position] = (codes[position] + base) % 4
        parts = []
        for sign in (1, -1):
            rows = []
            for strand in (codes, mutant), (reverse_complement(codes), reverse_complement(mutant)):
                old, new = (
                    before[tokens.single_row(tokens.tokenize(torch.as_tensor(x[None]), 3, 2))]
                    for x in strand
                )
                rows.append(old + sign * shift * (new - old))
            ids = torch.zeros((1, rows[0].shape[1]), dtype=torch.long)
            hook = encoders.model.sequence.embedding.register_forward_hook(
                lambda _m, _i, _o, left=rows: left.pop(0)
            )
            with torch.no_grad():
                parts.append(float(target.gradient([ids, ids])))
            hook.remove()
        slope = (parts[0] - parts[1]) / (2 * shift)
        assert effects[position, mutant[position]] == pytest.approx(slope, rel=0.02, abs=1e-5)


def test_mutations_are_differences_of_scores(run):
    target = attributions.accessibility_target(run.encoders, Head.load(run.head))
    text = run.genome["a"][100 : 100 + WIDTH]
    codes = encode(text)
    changed = encode(text[:5] + other(text[5]) + text[6:])
    effects = attributions.by_mutation(target, codes)
    expected = target.score(changed[None])[0] - target.score(codes[None])[0]
    assert effects[5, changed[5]] == pytest.approx(expected, abs=1e-9)
    contribution = genebert.attribute(run.encoders, Head.load(run.head), text)
    assert contribution[5] == pytest.approx(-effects[5].sum() / 3)


def test_unknown_bases_have_no_contribution(run):
    text = "ACGTNACGTAACCGGTTACG"
    for method in ("ism", "gradient"):
        found = genebert.attribute(run.encoders, Head.load(run.head), text, method=method)
        assert np.isnan(found).nonzero()[0].tolist() == [4]
    with pytest.raises(InputError, match="did you mean 'gradient'"):
        genebert.attribute(run.encoders, Head.load(run.head), text, method="gradients")


@pytest.mark.parametrize(("multiclass", "regions"), [(False, False), (True, False), (False, True)])
def test_a_confident_network_has_the_same_gradient(run, multiclass, regions):
    made = make_fitted(run, multiclass=multiclass, regions=regions)
    given = None
    if regions:
        places = predictions.Contexts(made, run.files("shards")["shards"], ["B"], "bed").places
        given = places.matrices(0, np.zeros(1, dtype=np.int64), np.array([110]))
    codes = encode(run.genome["a"][100 : 100 + WIDTH])
    target = attributions.network_target(made, 1, given)
    plain = attributions.attribute(target, codes, "gradient")
    with torch.no_grad():
        next(p for p in reversed(list(made.network.parameters())) if p.shape == (2,))[1] += 16
    sure = attributions.attribute(target, codes, "gradient")
    assert target.score(codes[None])[0] > 14
    assert np.abs(plain).max() > 0
    np.testing.assert_allclose(sure, plain, atol=0.02 * np.abs(plain).max())


def test_a_track_of_a_region_follows_its_motif_row(run, tmp_path):
    made = make_fitted(run, regions=True)
    shards = Shards.open(run.files("shards")["shards"])
    start, end = int(shards.start[3]), int(shards.start[3]) + WIDTH
    job: dict[str, Any] = {
        **run.files("weights", "shards", "motif_set", "head"), "fitted": [fitted_file(tmp_path, made)],
        "name": "t", "cell_types": ["B"], "output": "SPI1", "threads": 1, "method": "ism",
        "bedgraph": str(tmp_path / "t.bedgraph"), "summary": str(tmp_path / "t.json"),
    }  # fmt: skip
    bed = {
        "region": run.write("t.bed", f"a\t{start}\t{end}\na\t{start + 40}\t{end + 40}\n"),
        "beside": run.write("u.bed", f"a\t{start + 1}\t{end + 1}\n"),
    }
    for name, method, matrix, rows in (
        ("region", "ism", "anchor follows", 1),
        ("beside", "ism", "fixed", 0),
        ("region", "gradient", "fixed", 0),
    ):
        tracks.attribute_bed(**job | {"method": method}, bed=bed[name])
        record = json.loads((tmp_path / "t.json").read_text())
        assert (record["matrix"], record["rows_whose_anchor_follows"]) == (matrix, rows)
    tracks.attribute_bed(**job, bed=bed["region"])
    track = pd.read_csv(job["bedgraph"], sep="\t", header=None).set_index(1)[3]
    contexts = predictions.Contexts(made, job["shards"], ["B"], "bed")
    motifs = genebert.load_motifs(job["motif_set"])
    given = contexts.places.matrices(1, *(np.array([x]) for x in (0, start + WIDTH // 2, 3)))
    codes = encode(run.genome["a"][start:end])

    def scanned(codes: Any) -> Any:
        return contexts.places.corpus.rows_of(motifs.scan(list(codes)).sum.toarray())

    target = attributions.network_target(made, 1, given, scanned)
    expected = attributions.attribute(target, codes)
    np.testing.assert_allclose(track.loc[start : end - 1], expected, rtol=1e-3, atol=1e-6)
    hidden = make_fitted(run, regions=True, anchor_hidden=True)
    job["fitted"] = [fitted_file(tmp_path, hidden)]
    tracks.attribute_bed(**job, bed=bed["region"])
    assert json.loads((tmp_path / "t.json").read_text())["matrix"] == "fixed"


def test_overlapping_pieces_are_averaged_and_gaps_kept():
    pieces = [
        (0, 5, np.array([1.0, 2, 3])),
        (0, 6, np.array([4.0, np.nan, 6])),
        (0, 6, np.array([6.0])),
        (0, 20, np.array([7.0])),
        (1, 3, np.array([8.0])),
    ]
    bases = {
        (contig, start + i): value
        for contig, start, values in tracks.merged(iter(pieces))
        for i, value in enumerate(values)
    }
    assert bases == {
        (0, 5): 1, (0, 6): 4, (0, 7): 3, (0, 8): 6, (0, 20): 7, (1, 3): 8,
    }  # fmt: skip


def test_a_track_is_sorted_and_a_browser_reads_it(run, tmp_path):
    bed = run.write(  # one row lies inside another, whose window starts later
        "t.bed", "b\t40\t60\na\t110\t112\na\t100\t103\na\t0\t4\na\t60\t140\na\t70\t80\n"
    )
    out = {"bedgraph": str(tmp_path / "t.bedgraph"), "summary": str(tmp_path / "t.json")}
    job: dict[str, Any] = {
        **run.files("weights", "shards", "motif_set", "head"), "bed": bed, "fitted": [], "name": "t",
        "cell_types": ["B"], "output": "", "method": "gradient", "threads": 1, **out,
    }  # fmt: skip
    tracks.attribute_bed(**job)
    rows = pd.read_csv(out["bedgraph"], sep="\t", names=["contig", "start", "end", "value"])
    assert rows.sort_values(["contig", "start"], kind="stable").index.is_monotonic_increasing
    assert not rows.duplicated(["contig", "start"]).any()
    assert rows["start"].min() >= 0
    assert len(rows[rows["contig"] == "b"]) == WIDTH
    bigwig = str(tmp_path / "t.bw")
    index = run.files()["index"]
    write_bigwig(bedgraph=out["bedgraph"], index=index, bigwig=bigwig)
    with pyBigWig.open(bigwig) as file:
        assert file.chroms() == {name: len(text) for name, text in run.genome.items()}
        row = rows.iloc[30]
        got = file.values(row["contig"], int(row["start"]), int(row["end"]))
        assert got == pytest.approx([row["value"]], rel=1e-5)
    assert "accessibility in B" in json.loads((tmp_path / "t.json").read_text())["explains"]


# predictions


@pytest.mark.parametrize("architecture", ["encoders", "cnn"])
def test_a_kept_network_is_the_network(run, tmp_path, architecture):
    made = make_fitted(run, **({"architecture": None} if architecture == "cnn" else {}))
    again = finetuned.load(fitted_file(tmp_path, made))
    plain = [replace(one.about, architecture=None) for one in (again, made)]
    assert plain[0] == plain[1]
    if made.encoders is not None:
        assert again.encoders.config == made.encoders.config
    codes = encode(run.genome["a"][:WIDTH])[None]
    np.testing.assert_array_equal(
        predictions.probabilities(again, codes), predictions.probabilities(made, codes)
    )


def test_files_that_are_no_network_are_one_line(run, tmp_path):
    from genebert.predict import keep_nothing

    path = tmp_path / "none.safetensors"
    keep_nothing(str(path))
    with pytest.raises(InputError, match="no network was kept"):
        finetuned.load(path)
    with pytest.raises(InputError, match="is no fitted network"):
        finetuned.load(run.weights)
    with pytest.raises(InputError, match="is no fitted network"):
        finetuned.load(tmp_path / "absent.safetensors")


def predicted(run: ToyRun, tmp_path: Path, made: finetuned.Fitted, text: str, *cells: str) -> Any:
    table = tmp_path / "p.tsv"
    predictions.predict_bed(
        bed=run.write("p.bed", text), **run.files("shards"), fitted=fitted_file(tmp_path, made),
        table=str(table), summary=str(tmp_path / "p.json"), name="p", cell_types=list(cells),
        threads=1,
    )  # fmt: skip
    return pd.read_csv(table, sep="\t")


def test_predictions_are_those_of_the_sequences(run, tmp_path):
    made = make_fitted(run)
    text = "b\t40\t60\tw\t0\t-\na\t101\t102\n"
    table = predicted(run, tmp_path, made, text)
    sequences = [run.genome["b"][40:60], run.genome["a"][91:111]]
    expected = genebert.predict_sequences(made, sequences)
    np.testing.assert_allclose(table[["CTCF", "SPI1"]], expected, rtol=1e-5)
    assert table["name"].fillna("").tolist() == ["w", ""]


def test_predictions_for_a_cell_type_that_is_named_twice_are_refused(run, tmp_path):
    with pytest.raises(InputError, match="named twice"):
        predicted(run, tmp_path, make_fitted(run, regions=True), "a\t100\t120\n", "NK", "NK")
    assert not (tmp_path / "p.tsv").exists()


def test_where_the_strand_counts_rows_are_read_on_theirs(run, tmp_path):
    about = {"strand_specific": True, "focus": (5, 5), "outputs": ("probability",)}
    made = make_fitted(run, **about)
    table = predicted(run, tmp_path, made, "a\t100\t101\tp\t0\t+\na\t100\t101\tm\t0\t-\n")
    a = run.genome["a"]
    minus = a[100 + 5 - WIDTH + 1 : 100 + 6][::-1].translate(str.maketrans("ACGT", "TGCA"))
    assert minus[5].translate(str.maketrans("ACGT", "TGCA")) == a[100]
    expected = genebert.predict_sequences(made, [a[95:115], minus])["probability"]
    np.testing.assert_allclose(table["probability"], expected, rtol=1e-5)


def splice_network(run: ToyRun) -> finetuned.Fitted:
    about = {"task": "splicing", "strand_specific": True, "focus": (9, 10), "multiclass": True}
    return make_fitted(run, **about, outputs=("none", "donor", "acceptor"))


def sites_of(run: ToyRun) -> tuple[int, int, int]:
    """Return places of contig a: the G of a GT not after an A, its A in no AG, the G of an AGT."""
    a = run.genome["a"]
    donor = next(i for i in range(50, 400) if a[i : i + 2] == "GT" and a[i - 1] != "A")
    none = next(i for i in range(50, 400) if a[i] == "A")
    return donor, none, a.index("AGT", 50) + 1


def test_rows_without_a_splice_site_in_their_middle_get_na_and_no_track(run, tmp_path, caplog):
    made = splice_network(run)
    rows = [f"a\t{p}\t{p + 1}\tx\t0\t+\n" for p in sites_of(run)]
    table = predicted(run, tmp_path, made, "".join(rows))
    donor = sites_of(run)[0]
    window = run.genome["a"][donor - 10 : donor + 10]
    expected = genebert.predict_sequences(made, [window])["donor"]
    assert table["donor"][0] == pytest.approx(expected[0], rel=1e-4)
    assert table[["none", "donor", "acceptor"]].isna().all(axis=1).tolist() == [False, True, True]
    assert "the middle of 2 rows is no splice site; they get NA" in caplog.text
    assert json.loads((tmp_path / "p.json").read_text())["rows_without_splice_site"] == 2
    job: dict[str, Any] = {
        **run.files("weights", "shards", "motif_set", "head"), "fitted": [fitted_file(tmp_path, made)],
        "name": "t", "cell_types": [], "output": "", "method": "ism", "threads": 1,
        "bedgraph": str(tmp_path / "t.bedgraph"), "summary": str(tmp_path / "t.json"),
    }  # fmt: skip
    with pytest.raises(
        InputError, match=r"t\.bed, line 2: the middle of the row is no splice site"
    ):
        tracks.attribute_bed(**job, bed=run.write("t.bed", "".join(rows)))
    tracks.attribute_bed(**job, bed=run.write("t.bed", rows[0]))
    track = pd.read_csv(job["bedgraph"], sep="\t", header=None)
    assert track[1].tolist() == list(range(donor - 10, donor + 10))
    assert "donor by genebert" in (tmp_path / "t.json").read_text()  # the first class is "none"


def test_both_verbs_warn_where_no_row_has_a_strand(run, tmp_path, caplog):
    made = splice_network(run)
    predicted(run, tmp_path, made, "a\t100\t120\n")
    assert caplog.text.count("no row has a strand (column 6)") == 1
    tracks.attribute_bed(
        **run.files("weights", "shards", "motif_set", "head"), bed=run.write("t.bed", "a\t100\t120\n"),
        fitted=[fitted_file(tmp_path, made)], name="t", cell_types=[], output="", method="ism",
        threads=1, bedgraph=str(tmp_path / "t.bedgraph"), summary=str(tmp_path / "t.json"),
    )  # fmt: skip
    assert caplog.text.count("no row has a strand (column 6)") == 2


def test_a_region_branch_predicts_every_cell_type_that_is_named(run, tmp_path):
    made = make_fitted(run, regions=True)
    table = predicted(run, tmp_path, made, "a\t100\t120\na\t300\t310\n", "HSC", "NK")
    assert [c for c in table.columns if "@" in c] == ["CTCF@HSC", "CTCF@NK", "SPI1@HSC", "SPI1@NK"]
    assert not np.allclose(table["CTCF@HSC"], table["CTCF@NK"])
    alone = predicted(run, tmp_path, made, "a\t100\t120\na\t300\t310\n", "NK")
    np.testing.assert_allclose(alone["SPI1@NK"], table["SPI1@NK"], rtol=1e-5)
    for cells, message in (((), "must be named"), (("HSCs",), "did you mean 'HSC'")):
        with pytest.raises(InputError, match=message):
            predicted(run, tmp_path, made, "a\t100\t120\n", *cells)
    with pytest.raises(InputError, match="predict_bed"):
        genebert.predict_sequences(made, ["A" * WIDTH])


def test_rows_on_contigs_without_regions_get_na_and_no_track(run, tmp_path, monkeypatch, caplog):
    """Contigs of no split have no regions: a BED of the whole genome must not end hours of work."""
    made = make_fitted(run, regions=True)
    text = "a\t100\t120\nb\t40\t60\na\t300\t310\n"
    whole = predicted(run, tmp_path, made, text, "NK")
    codes = predictions.Neighbourhoods.contig_codes

    def known(self: Any, contigs: Any) -> Any:
        return np.where(np.array(contigs) == "b", -1, codes(self, contigs))

    monkeypatch.setattr(predictions.Neighbourhoods, "contig_codes", known)
    table = predicted(run, tmp_path, made, text, "NK")
    assert table["SPI1@NK"].isna().tolist() == [False, True, False]
    np.testing.assert_allclose(table["SPI1@NK"][[0, 2]], whole["SPI1@NK"][[0, 2]], rtol=1e-5)
    assert "1 rows lie on contigs without regions and get NA" in caplog.text
    with pytest.raises(InputError, match=r"t\.bed, line 2: row lies on a contig without regions"):
        tracks.attribute_bed(
            **run.files("weights", "shards", "motif_set", "head"), bed=run.write("t.bed", text), name="t",
            fitted=[fitted_file(tmp_path, made)], cell_types=["NK"], output="SPI1", method="ism",
            threads=1, bedgraph=str(tmp_path / "t.bedgraph"), summary=str(tmp_path / "t.json"),
        )  # fmt: skip


def test_tracks_of_a_network(run, tmp_path):
    made = make_fitted(run, regions=True)
    job: dict[str, Any] = {
        **run.files("weights", "shards", "motif_set", "head"), "bed": run.write("t.bed", "a\t100\t120\n"),
        "fitted": [fitted_file(tmp_path, made)], "name": "t", "cell_types": ["NK"],
        "output": "SPI1", "method": "ism", "threads": 1,
        "bedgraph": str(tmp_path / "t.bedgraph"), "summary": str(tmp_path / "t.json"),
    }  # fmt: skip
    tracks.attribute_bed(**job)
    exact = pd.read_csv(job["bedgraph"], sep="\t", header=None)
    assert exact[1].tolist() == list(range(100, 120))
    assert "SPI1 by genebert of tfbs/toy in NK" in (tmp_path / "t.json").read_text()
    tracks.attribute_bed(**job | {"method": "gradient"})
    near = pd.read_csv(job["bedgraph"], sep="\t", header=None)
    assert np.corrcoef(exact[3], near[3])[0, 1] > 0.5
    (tmp_path / "cnn").mkdir()
    cnn = fitted_file(tmp_path / "cnn", make_fitted(run, architecture=None))
    for changes, message in (
        ({"output": "SPI"}, "did you mean 'SPI1'"),
        ({"cell_types": ["NK", "B"]}, "one track is of one cell type"),
        ({"fitted": [cnn], "method": "gradient"}, "no gradient through tokens"),
    ):
        with pytest.raises(InputError, match=message):
            tracks.attribute_bed(**job | changes)
