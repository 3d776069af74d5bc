"""What a user opens in a genome browser, opened in one: IGV's own code (igv.js) in a headless Chromium.

Skipped where there is no Chromium or no igv-notebook, the package that brings igv.js.
"""

from __future__ import annotations

import base64
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pysam
import pytest

from browser import Browser, find_chromium
from genebert.use import tracks, variants
from genebert.use.bigwig import write_bigwig
from use_toys import ToyRun, make_run

VCF = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
OTHER = {"A": "C", "C": "G", "G": "T", "T": "A"}
PAGE = "<!doctype html><meta charset=utf-8><div id=igv></div><script src='igv.js'></script>"
OPEN = """(async () => {
  const file = (name) => new File(
    [Uint8Array.from(atob(window.contents[name]), (c) => c.charCodeAt(0))], name);
  window.browser = await igv.createBrowser(document.getElementById("igv"), {
    reference: {id: "toy", fastaURL: file("genome.fa.gz"), indexURL: file("genome.fa.gz.fai"),
                compressedIndexURL: file("genome.fa.gz.gzi")},
    loadDefaultGenomes: false,
    locus: "a:1-200",
    tracks: [
      {name: "bedgraph", type: "wig", format: "bedgraph", url: file("t.bedgraph")},
      {name: "bigwig", type: "wig", format: "bigwig", url: file("t.bw")},
      {name: "regions", type: "annotation", format: "bed", url: file("t.bed")},
      {name: "variants", type: "variant", format: "vcf",
       url: file("v.vcf.gz"), indexURL: file("v.vcf.gz.tbi")},
    ],
  });
  return true;
})()"""
READ = """(async () => {
  const found = {};
  for (const name of ["bedgraph", "bigwig", "regions", "variants"]) {
    const track = window.browser.findTracks("name", name)[0];
    const features = await track.getFeatures("a", 0, 200, 1);
    found[name] = features.map((f) => [f.start, f.end, f.value ?? f.info ?? f.name ?? null]);
  }
  found.sequence = await window.browser.genome.getSequence("a", 100, 110);
  return JSON.stringify(found);
})()"""


def reference(folder: Path, genome: dict[str, str]) -> list[Path]:
    """Write the genome as the pipeline does, before a long contig: FASTA and its indexes.

    igv.js 3.1.4 reads no bases of the last block (64 kB) of a file, so the last must be another.
    """
    plain, fasta = folder / "genome.fa", folder / "genome.fa.gz"
    contigs = {**genome, "long": "ACGT" * 50_000}
    plain.write_text("".join(f">{name}\n{text}\n" for name, text in contigs.items()))
    pysam.tabix_compress(str(plain), str(fasta))
    pysam.faidx(str(fasta))
    return [fasta, folder / "genome.fa.gz.fai", folder / "genome.fa.gz.gzi"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ToyRun:
    return make_run(tmp_path_factory.mktemp("toy-run"))


def test_igv_shows_what_the_files_hold(run: ToyRun, tmp_path: Path) -> None:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium on this machine")
    package = find_spec("igv_notebook")  # looked for, not imported: it asks for IPython
    if package is None or package.origin is None:
        pytest.skip("no igv-notebook in this environment: pip install --no-deps igv-notebook")
    bed = run.write("t.bed", "a\t100\t103\tone\na\t110\t112\ttwo\nb\t40\t60\tthree\n")
    job: dict[str, Any] = {
        **run.files("weights", "shards", "motif_set", "head"), "bed": bed, "fitted": [], "name": "t",
        "cell_types": ["B"], "output": "", "method": "gradient", "threads": 1,
        "bedgraph": str(tmp_path / "t.bedgraph"), "summary": str(tmp_path / "t.json"),
    }  # fmt: skip
    tracks.attribute_bed(**job)
    bigwig = str(tmp_path / "t.bw")
    write_bigwig(bedgraph=job["bedgraph"], index=run.files()["index"], bigwig=bigwig)
    bases = run.genome["a"]
    lines = [f"a\t{p}\trs{p}\t{bases[p - 1]}\t{OTHER[bases[p - 1]]}\t.\t.\t.\n" for p in (101, 121)]
    annotated = str(tmp_path / "v.vcf.gz")
    variants.score_vcf(
        vcf=run.write("v.vcf", VCF + "".join(lines)),
        **run.files("weights", "shards", "motif_set", "head"),
        table=str(tmp_path / "v.tsv"), annotated=annotated, vcf_index=f"{annotated}.tbi",
        summary=str(tmp_path / "v.json"), name="v", cell_types=(), threads=1,
    )  # fmt: skip

    files = [bed, job["bedgraph"], bigwig, annotated, f"{annotated}.tbi"]
    files += reference(tmp_path, run.genome)
    contents = {Path(f).name: base64.b64encode(Path(f).read_bytes()).decode() for f in files}
    script = Path(package.origin).parent / "js/igv.min.js"
    (tmp_path / "igv.js").write_text(script.read_text())
    (tmp_path / "page.html").write_text(PAGE)
    with Browser(program, tmp_path / "home") as browser:
        browser.open(tmp_path / "page.html")
        browser.run(f"window.contents = {json.dumps(contents)}; true")
        assert browser.run(OPEN)
        found = json.loads(browser.run(READ))
        browser.screenshot(tmp_path / "igv.png")

    rows = pd.read_csv(job["bedgraph"], sep="\t", names=["contig", "start", "end", "value"])
    rows = rows[rows["contig"] == "a"]
    for name in ("bedgraph", "bigwig"):
        shown = pd.DataFrame(found[name], columns=["start", "end", "value"])
        assert shown["start"].tolist() == rows["start"].tolist(), name
        assert shown["value"].tolist() == pytest.approx(rows["value"].tolist(), rel=1e-5), name
    assert [row[:2] for row in found["regions"]] == [[100, 103], [110, 112]]
    with pysam.VariantFile(annotated) as handle:
        scores = [(record.start, record.info["GENEBERT_LLR"][0]) for record in handle]
    assert [row[0] for row in found["variants"]] == [start for start, _ in scores]
    assert [float(row[2]["GENEBERT_LLR"]) for row in found["variants"]] == pytest.approx(
        [score for _, score in scores], rel=1e-4
    )
    assert found["sequence"].upper() == bases[100:110]
