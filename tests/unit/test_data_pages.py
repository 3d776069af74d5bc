"""The data card and the leakage page say what the tables hold, escaped, from nothing but files."""

from __future__ import annotations

import json

import pytest
import yaml

from genebert import data_pages
from genebert.errors import InputError


def tsv(path, text):
    path.write_text(text.replace(" ", "\t"))
    return str(path)


@pytest.fixture
def arguments(tmp_path):
    record = {
        "genebert": {"version": "0.1.0", "commit": "abc", "modified": True},
        "config_hash": "0123", "python": "3.11.7", "packages": {"numpy": "2.4.6"},
        "downloads": [
            {"name": "genes.gtf", "version": "46", "source": "https://example.org/genes.gtf",
             "bytes": 10, "md5": None, "sha256": "f00", "checked_against": "md5",
             "licence": "CC BY <4>"}
        ],
        "local_files": [{"path": "mine.bed", "bytes": 3, "sha256": "beef"}],
    }  # fmt: skip
    described = [
        {"task": "tfbs", "dataset": "chip", "negatives": "matched", "dropped": {"few": 3, "no": 0},
         "counts": {"train": {"bound": 5}, "test": {"bound": 2}}, "captions": {"leaks": "all strata"},
         "discordant_loci": {"MAX": {"loci": 40, "share": 0.325}, "X": {"loci": 0, "share": None}}},
        {"task": "disease", "dataset": "people", "phenotypes_of_unknown_people": 7,
         "calls": {"calls missing": 11, "heterozygous calls without phase": 2}},
    ]  # fmt: skip
    files = {"provenance": record, "motif_set": {"motifs": [{"kept": True}, {"kept": False}]}}
    files |= {f"d{i}": one for i, one in enumerate(described)}
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    leaks = [
        "check found removed share\nany_copy 4 4 0.1\nremaining_duplicate 0 0 0\n"
        "gc_positive:test 9 0 0.5\ngc_auroc:test 9 0 0.71\n",
        "check found removed share\npeople_related 0 0 0\n",
    ]
    qc = "cell_type reason count\nB read 10\nB kept 8\nB overlap 2\nB blacklist 0\nB open_regions 9\n"
    qc += "* regions_train 6\n* held_out_only_train 2\n* mean_gc_percent_train 41\n"
    cells = "cell_type held_out n_open nearest jaccard\nB 0 9 NK 0.5\nNK 1 7 B 0.9\n"
    contigs = "contig length n_bases split\nchr1 1000 0 train\nchr2 500 0 valid\nchr3 400 0 test\n"
    return {
        "provenance": str(tmp_path / "provenance.json"),
        "motif_set": str(tmp_path / "motif_set.json"),
        "contigs": tsv(tmp_path / "contigs.tsv", contigs),
        "qc": tsv(tmp_path / "qc.tsv", qc),
        "cell_types": tsv(tmp_path / "cells.tsv", cells),
        "descriptions": [str(tmp_path / "d0.json"), str(tmp_path / "d1.json")],
        "leaks": [tsv(tmp_path / f"leaks{i}.tsv", text) for i, text in enumerate(leaks)],
        "data_card": str(tmp_path / "card.html"),
        "leakage": str(tmp_path / "leakage.html"),
        "genome": {"source": "files", "name": "mm10"},
        "splits": {"train": ["chr1"], "valid": ["chr2"], "test": ["chr3"]},
        "motifs": {"sources": [{"path": "m.meme"}], "p_value": 1e-4},
        "caption": "mm10",
    }


def test_data_card(arguments, tmp_path):
    data_pages.data_pages(**arguments)
    text = (tmp_path / "card.html").read_text()
    for found in (
        "commit abc, with changes", "CC BY &lt;4&gt;", "<td>f00</td>", "<td>mine.bed</td>",
        "<dd>1 that cannot reach the p-value</dd>", "<td>3 few</td>", "<td>5 bound</td>",
        "Nothing was dropped for: blacklist.", "<td class=number>1000</td>",
    ):  # fmt: skip
        assert found in text, found
    held = "<td>NK</td><td>B</td><td class=number>0.9</td><td class=number>7</td>"
    assert held in text  # held out, its twin, Jaccard index, open regions
    assert "open_regions" not in text
    number = "<td class=number>{}</td>".format
    assert "<td>B</td>" + "".join(map(number, (10, 8, 2, 9))) in text  # read, kept, overlap, open
    assert "<td>train</td>" + "".join(map(number, (6, 2, 41))) in text  # of the consensus set
    assert "<td>*</td>" not in text
    assert '<td>MAX</td><td class=number>40</td><td class=number data-value="0.325">32.5%' in text
    assert "<td>X</td><td class=number>0</td>" in text
    assert "<td>7 people without genotypes</td>" in text
    assert "genotypes: 11 calls missing, 2 heterozygous calls without phase" in text
    assert "href=" not in text


def test_bases_of_a_split_are_those_of_its_intervals(arguments, tmp_path, root):
    """Of contigs that lie in a split in part, too; others of a contig are in no split."""
    splits = yaml.safe_load((root / "config/hg19_test.yaml").read_text())["splits"]
    contigs = "chr1 3000000 0 valid\nchr17 2000000 0 valid\nchr20 1500000 0 test\n"
    contigs += "chr22 51304566 0 mixed\nchrM 16571 0 none\n"
    arguments["contigs"] = tsv(tmp_path / "c.tsv", f"contig length n_bases split\n{contigs}")
    data_pages.data_pages(**arguments | {"splits": splits})
    text = (tmp_path / "card.html").read_text()
    for name, bases in (("train", 3350000), ("valid", 5000000), ("test", 3900000)):
        row = f"<td>{name}</td><td>{', '.join(splits[name])}</td>"
        assert f"{row}<td class=number>{bases}</td>" in text


def test_leakage_page(arguments, tmp_path):
    data_pages.data_pages(**arguments)
    text = (tmp_path / "leakage.html").read_text()
    assert "<td class=wrong>copies removed; GC differs</td>" in text
    assert f"<td class=fine>{data_pages.CLEAN}</td>" in text
    assert '<td class=number data-value="0.1">10.0%</td>' in text
    assert "<dd>all strata</dd>" in text
    assert "mean GC content of positives" in text


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ({"any_copy": (0, 0)}, "no copy"),
        ({"any_copy": (2, 2)}, "copies removed"),
        ({"any_copy": (2, 0)}, "copies left in"),
        ({"people_related": (2, 0)}, "relatives in one fold"),
        ({"any_copy": (0, 0), "remaining_duplicate": (1, 0)}, "duplicates remain"),
        (
            {"copy_on_another_contig": (2, 2), "copy_in_another_fold": (5, 0)},
            "copies removed; copies left in",
        ),
        ({}, "copies not looked for"),
    ],
)
def test_verdict(rows, verdict):
    found = {
        name: {"found": str(n), "removed": str(gone), "share": "0"}
        for name, (n, gone) in rows.items()
    }
    assert data_pages.verdict(found) == verdict


def test_composition_of_cross_validated_items_is_in_the_verdict():
    copies = {"found": "0", "removed": "0", "share": "0"}
    found = {"copy_on_another_contig": copies, "gc_auroc": {**copies, "share": "0.3"}}
    assert data_pages.verdict(found) == "GC differs"


def test_a_damaged_description_is_named(arguments):
    with open(arguments["descriptions"][0], "w") as handle:
        handle.write("[]")
    with pytest.raises(InputError, match=r"d0\.json: not a JSON object"):
        data_pages.data_pages(**arguments)
