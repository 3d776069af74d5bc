"""The tables that describe the regions count what they say, and refuse what does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import region_toys
from scipy import sparse

from genebert import region_qc
from genebert.errors import InputError
from genebert.overlap import jaccard

NAMES = ("cell_types", "distributions", "overlap", "figure", "heatmap")
STRENGTH = np.array([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1.0]]) / 2
GTF = "\n".join(
    f'{contig}\tx\texon\t{start}\t{end}\t.\t{strand}\t.\tgene_id "{name}"; transcript_id "{name}";'
    for contig, start, end, strand, name in (
        ("chr1", 1, 100, "+", "a"),  # TSS at 0; the region is chr1:0-500
        ("chr2", 900, 1251, "-", "b"),  # TSS at 1250
        ("chrX", 1, 100, "+", "c"),
    )
)


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, str]:
    scores = np.ones((5, 2))
    gc = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    paths = region_toys.write(tmp_path, scores, STRENGTH, gc=gc, held_out=(1,))
    rows = ["cell_type\treason\tcount", "*\tregions_train\t3"]
    for cell in "ABCD":
        rows += [f"{cell}\tread\t10", f"{cell}\tblacklist\t4", f"{cell}\tmedian_peak_width\t300"]
        rows += [f"{cell}\tkept\t6", f"{cell}\topen_regions\t3"]
    (tmp_path / "qc.tsv").write_text("\n".join(rows) + "\n")
    (tmp_path / "genes.gtf").write_text(GTF + "\n")
    return {
        "table": str(tmp_path / "regions.tsv"),
        "accessibility": paths["accessibility"],
        "qc": str(tmp_path / "qc.tsv"),
        "gtf": str(tmp_path / "genes.gtf"),
        **{name: str(tmp_path / f"{name}.tsv") for name in NAMES[:3]},
        **{name: str(tmp_path / f"{name}.svg") for name in NAMES[3:]},
    }


def test_tables_count_what_they_say(arguments):
    region_qc.describe_regions(**arguments)
    cells = pd.read_csv(arguments["cell_types"], sep="\t").set_index("cell_type")
    assert cells["n_open"].to_dict() == {"A": 3, "B": 2, "C": 2, "D": 3}
    # fewer than half of four cell types: open in one
    assert cells["n_rare"].to_dict() == {"A": 1, "B": 0, "C": 0, "D": 1}
    assert cells["n_unique"].to_dict() == {"A": 1, "B": 0, "C": 0, "D": 1}
    assert cells["held_out"].tolist() == [0, 1, 0, 0]
    assert (cells["n_peaks"] == 10).all()
    assert (cells["lost_blacklist"] == 4).all()
    assert (cells["peak_width_median"] == 300).all()
    assert cells.loc["A", ["gc_q25", "gc_median", "gc_q75"]].tolist() == [0.15, 0.2, 0.25]
    assert cells.loc["A", "breadth_median"] == 2
    assert cells.loc["B", "nearest"] == "A"
    assert cells.loc["B", "jaccard"] == pytest.approx(2 / 3, abs=1e-4)
    # middles are at 250 of each contig: 250 from the TSS of chr1, 1000 from that of chr2
    assert cells.loc["B", "tss_median"] == 250
    assert cells.loc["A", "tss_median"] == 625
    assert cells.loc["A", "tss_near"] == 1
    overlap = pd.read_csv(arguments["overlap"], sep="\t").set_index(["cell_type", "other"])
    assert len(overlap) == 6
    assert overlap.loc[("A", "D"), ["both", "either", "jaccard"]].tolist() == [1, 5, 0.2]
    spread = pd.read_csv(arguments["distributions"], sep="\t")
    total = spread.groupby(["quantity", "group"])["count"].sum()
    assert total["gc"].to_dict() == {"rare": 2, "broad": 3}
    assert total["tss"].to_dict() == {"rare": 1, "broad": 1}  # the others have no TSS
    breadth = spread[spread["quantity"] == "breadth"].groupby("low")["count"].sum()
    assert breadth.to_dict() == {0.5: 2, 1.5: 2, 2.5: 0, 3.5: 1}
    assert "repeat" in total


def test_no_gtf_no_distances(arguments):
    region_qc.describe_regions(**{**arguments, "gtf": []})
    cells = pd.read_csv(arguments["cell_types"], sep="\t")
    assert cells["tss_median"].isna().all()
    assert "tss" not in set(pd.read_csv(arguments["distributions"], sep="\t")["quantity"])


def test_quantiles_of_peak_widths_are_kept_where_known(arguments):
    qc = Path(arguments["qc"])
    rows = [
        f"{cell}\tpeak_width_{q}\t{w}" for cell in "ABCD" for q, w in (("q25", 250), ("q75", 400))
    ]
    qc.write_text(qc.read_text() + "\n".join(rows) + "\n")
    region_qc.describe_regions(**arguments)
    cells = pd.read_csv(arguments["cell_types"], sep="\t")
    assert (cells["peak_width_q75"] == 400).all()


def test_tss_distance_looks_to_both_sides():
    regions = pd.DataFrame(
        {
            "contig": ["a"] * 4 + ["b"],
            "start": [0, 100, 300, 900, 5],
            "end": [10, 110, 310, 910, 15],
        }
    )
    tss = pd.DataFrame({"contig": ["a", "a", "c"], "tss": [400, 120, 7]})
    found = region_qc.tss_distance(regions, tss, file="x.gtf")
    assert found[:4].tolist() == [115, 15, 95, 505]
    assert np.isnan(found[4])


def test_jaccard_counts_regions():
    opened = sparse.csr_matrix(np.array([[0.5, 0.5, 0], [0, 0.1, 0.9], [0, 0, 0]]))
    both, either, ratio = jaccard(opened)
    assert both[0, 1] == 1
    assert either[0, 1] == 3
    assert ratio[0, 1] == pytest.approx(1 / 3)
    assert ratio[2].tolist() == [0, 0, 0]


def test_a_single_cell_type_is_described(tmp_path, arguments):
    paths = region_toys.write(tmp_path, np.ones((5, 1)), STRENGTH[:, [0]] + 0.1)
    region_qc.describe_regions(**{**arguments, **{"accessibility": paths["accessibility"]}})
    assert len(pd.read_csv(arguments["cell_types"], sep="\t")) == 1
    assert Path(arguments["heatmap"]).stat().st_size > 0


def test_bad_input_is_named(arguments, tmp_path):
    (tmp_path / "other.gtf").write_text(GTF.replace("chr", "").splitlines()[0] + "\n")
    short = tmp_path / "short.tsv"
    short.write_text("\n".join(Path(arguments["table"]).read_text().splitlines()[:-1]) + "\n")
    counts = Path(arguments["qc"]).read_text()
    (tmp_path / "lacking.tsv").write_text("\n".join(counts.splitlines()[:-5]) + "\n")
    (tmp_path / "widths.tsv").write_text(counts.replace("median_peak_width", "x"))
    (tmp_path / "text.tsv").write_text("nothing\n")
    for name, file, message in (
        ("gtf", "other.gtf", "other names of contigs.*found '1'.*expected chr1"),
        ("table", "short.tsv", "regions differ.*4 regions.*the 5 regions"),
        ("table", "text.tsv", "is not a table of regions"),
        ("qc", "lacking.tsv", "has no rows of a cell type; expected D"),
        ("qc", "widths.tsv", "has no rows of reason 'median_peak_width'"),
        ("qc", "text.tsv", "is not a table of counts"),
        ("accessibility", "text.tsv", "is not an accessibility matrix"),
    ):
        with pytest.raises(InputError, match=rf"{file}: .*{message}"):
            region_qc.describe_regions(**{**arguments, name: str(tmp_path / file)})
