"""What can be told of the pairs of SRM before anything is trained: every probe, on all loci.

    python tests/benchmarks/probes.py RUN [--variants full shuffled_matrix]

RUN is a directory with shards and ``results/pretrain/VARIANT/seed-1/run.json``, which
``snakemake results/pretrain/full/seed-1/run.json`` makes without training. Prints a row per
variant, set, contrast and probe: AUROC with its interval over loci, rows fitted on and judged,
penalty. The sets hold all loci, not only the evaluation loci of a run. Ends in lines `RESULT <name>
<value> <bar> pass|short`: P0 and the probes of one modality, bar 0.55 at most.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import library  # noqa: F401
import torch

from genebert.errors import InputError
from genebert.plan import Plan
from genebert.population import Population, build_population
from genebert.pretraining_evaluation import FixedSet, probe_training
from genebert.pretraining_table import UNIMODAL
from genebert.probes import Judged, srm_probes
from genebert.run_figures import of_probe
from genebert.samples import TRAIN, VALID, Corpus
from genebert.shards import Shards

ALL = 1_000_000
SETS = {"valid": "training", "held_out": "held_out"}


def show(variant: str, name: str, found: dict[str, Judged]) -> dict[str, float]:
    """Print the rows of a set; return the AUROC of P0 and of the probes of one modality."""
    alone = {}
    for key, judged in found.items():
        probe, contrast = key.split(":")
        auroc = of_probe(judged).estimate()
        print(
            f"{variant:16s} {name:9s} {contrast} {probe:9s} {auroc.value:.3f}"
            f" ({auroc.low:.3f}-{auroc.high:.3f})  fitted {judged.fitted:6d}"
            f"  judged {len(judged.label):6d}  ridge {judged.ridge:g}",
            flush=True,
        )
        if probe in ("p0", "sequence", "matrix"):
            alone[f"{variant}-{name}-{contrast}-{probe}"] = auroc.value
    return alone


def populations(corpus: Corpus, plan: Plan) -> dict[str, Population]:
    """Return the populations that are judged; without those that have too few regions."""
    found = {}
    for name, roles in SETS.items():
        try:
            found[name] = build_population(corpus, plan, VALID, roles)
        except InputError as error:
            print(f"{name}: {error}")
    return found


def main() -> int:
    """Print the table; return 1 if a probe of one modality is above the bar."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--variants", nargs="+", default=["full"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = options.run / "results"
    corpus = Corpus.from_shards(Shards.open(results / "shards/index.json"), torch.device("cpu"))
    alone: dict[str, float] = {}
    for variant in options.variants:
        run = json.loads((results / "pretrain" / variant / "seed-1/run.json").read_text())
        plan = Plan.from_pretrain(run["variant"], int(run["seed"])).for_evaluation()
        pairs, _ = probe_training(build_population(corpus, plan, TRAIN, "training"))
        for name, population in populations(corpus, plan).items():
            judged, _ = FixedSet.of(name, population, ALL).probe_data()
            assert pairs is not None
            assert judged is not None
            alone |= show(variant, name, srm_probes(pairs, judged))
    for title, value in alone.items():
        print(f"RESULT {title} {value:.3f} {UNIMODAL} {'pass' if value <= UNIMODAL else 'short'}")
    return int(max(alone.values()) > UNIMODAL)


if __name__ == "__main__":
    sys.exit(main())
