"""The verbs of a notebook: an open run, what they write, and what they never overwrite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest

import genebert
from genebert.errors import InputError
from genebert.use import predictions
from use_toys import ToyRun, fitted_file, make_fitted, make_run, some_variants


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ToyRun:
    return make_run(tmp_path_factory.mktemp("toy-run"))


def test_an_open_run_knows_its_files(run, tmp_path):
    opened = genebert.open_run(str(run.results / "pretrain/full"))
    opened.embed_bed(run.write("o.bed", "a\t100\t120\n"), tmp_path / "o.h5ad", ["B"])
    assert anndata.read_h5ad(tmp_path / "o.h5ad").obsm["region_B"].shape == (1, 16)
    lonely = tmp_path / "lonely/seed-1"
    lonely.mkdir(parents=True)
    (lonely / "config.json").touch()
    with pytest.raises(InputError, match="not beside it"):
        genebert.open_run(str(lonely))


def test_a_run_is_opened_through_a_link_and_from_within(run, tmp_path, monkeypatch):
    link = tmp_path / "model"
    link.symlink_to(run.results / "pretrain/full")
    assert Path(genebert.open_run(str(link)).results).samefile(run.results)
    monkeypatch.chdir(run.results / "pretrain")
    opened = genebert.open_run("full")
    assert Path(opened.results).samefile(run.results)
    opened.embed_bed(run.write("o.bed", "a\t100\t120\n"), tmp_path / "o.h5ad")
    assert anndata.read_h5ad(tmp_path / "o.h5ad").n_obs == 1


def test_cell_types_may_be_an_array_and_no_single_text(run, tmp_path):
    opened = genebert.open_run(str(run.results / "pretrain/full"))
    bed = run.write("o.bed", "a\t100\t120\n")
    opened.embed_bed(bed, tmp_path / "o.h5ad", np.array(["HSC", "B"]))
    assert set(anndata.read_h5ad(tmp_path / "o.h5ad").obsm) == {"region_HSC", "region_B"}
    with pytest.raises(InputError, match=r"not in a list; found 'HSC'; expected \['HSC'\]"):
        opened.embed_bed(bed, tmp_path / "p.h5ad", "HSC")


def test_a_verb_that_fails_leaves_the_older_files(run, tmp_path, monkeypatch):
    opened = genebert.open_run(str(run.results / "pretrain/full"))
    home = Path(opened.file("tasks/tfbs/toy/genebert"))
    home.mkdir(parents=True)
    fitted_file(home, make_fitted(run, regions=True))
    track, table, summary = (tmp_path / name for name in ("t.bedgraph", "t.tsv", "new/t.json"))
    for path in (track, table):
        path.write_text("mine")
    bed = run.write("o.bed", "a\t100\t120\n")
    with pytest.raises(InputError, match="unknown method"):
        opened.attribute_bed(bed, run.head, bedgraph=track, summary=summary, method="grad")

    def broken(*_: Any) -> None:
        raise InputError("broken off")

    monkeypatch.setattr(predictions, "probabilities", broken)
    with pytest.raises(InputError, match="broken off"):
        opened.predict_bed(bed, "tfbs/toy", table=table, summary=summary, cell_types=["B"])
    assert track.read_text() == table.read_text() == "mine"
    assert {path.name for path in tmp_path.rglob("*")} == {"t.bedgraph", "t.tsv", "new"}


def test_links_are_followed_and_what_is_no_file_stays(run, tmp_path):
    opened = genebert.open_run(str(run.results / "pretrain/full"))
    (tmp_path / "scratch").mkdir()
    target, link = tmp_path / "scratch/t.bedgraph", tmp_path / "t.bedgraph"
    link.symlink_to(target)
    bed = run.write("o.bed", "a\t100\t120\n")
    opened.attribute_bed(bed, run.head, bedgraph=link, summary="/dev/null", method="gradient")
    assert link.is_symlink()
    assert target.read_text().startswith("a\t100\t101\t")
    assert not Path("/dev/null").is_file()
    text, _ = some_variants(run)
    annotated = tmp_path / "v.vcf.gz"
    annotated.symlink_to(tmp_path / "scratch/v.vcf.gz")
    opened.score_vcf(
        run.write("v.vcf", text), run.head, table=tmp_path / "v.tsv", annotated=annotated,
        summary=tmp_path / "v.json",
    )  # fmt: skip
    assert (tmp_path / "scratch/v.vcf.gz.tbi").exists()


def verbs(opened: Any, mine: Path, alias: Path, free: Path) -> dict[str, Any]:
    """Return calls of every verb, each with an output that is an input by another name."""
    tsv, summary, other, annotated = (free / x for x in ("o.tsv", "o.json", "head", "o.vcf.gz"))
    return {
        "embed": lambda: opened.embed_bed(mine, alias),
        "head": lambda: opened.fit_head(opened.weights),
        "annotated": lambda: opened.score_vcf(mine, other, table=tsv, annotated=alias, summary=summary),
        "variants": lambda: opened.score_vcf(mine, other, table=alias, annotated=annotated, summary=summary),
        "read-out": lambda: opened.score_vcf(mine, other, table=tsv, annotated=annotated, summary=other),
        "predictions": lambda: opened.predict_bed(mine, "tfbs/chip", table=tsv, summary=alias),
        "track": lambda: opened.attribute_bed(mine, other, bedgraph=alias, summary=summary),
        "one output": lambda: opened.predict_bed(mine, "tfbs/chip", table=tsv, summary=tsv),
    }  # fmt: skip


@pytest.mark.parametrize("verb", verbs(None, Path(), Path(), Path()))
@pytest.mark.parametrize("kind", ["same", "relative", "symlink", "hardlink"])
def test_no_verb_overwrites_what_it_reads(run, tmp_path, monkeypatch, verb, kind):
    monkeypatch.chdir(tmp_path)
    mine, folder, alias = tmp_path / "mine.vcf.gz", tmp_path / "written", Path("alias")
    mine.write_text("mine")
    folder.mkdir()
    if kind == "symlink":
        alias.symlink_to(mine)
    elif kind == "hardlink":
        alias.hardlink_to(mine)
    else:
        alias = mine if kind == "same" else Path("written/../mine.vcf.gz")
    weights = Path(run.weights).read_bytes()
    opened = genebert.open_run(str(run.results / "pretrain/full"))
    with pytest.raises(InputError, match="would overwrite the (input|output)") as caught:
        verbs(opened, mine, alias, folder)[verb]()
    assert "\n" not in str(caught.value)
    assert mine.read_text() == "mine"
    assert Path(run.weights).read_bytes() == weights
    assert not list(folder.iterdir())
