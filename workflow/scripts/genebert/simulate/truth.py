"""Write what real data do not tell: probabilities, planted sites, achieved statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from genebert.genome import decode
from genebert.metrics import auroc
from genebert.overlap import jaccard
from genebert.simulate import statistics, writers
from genebert.simulate.atlas import Atlas
from genebert.simulate.build import Genome
from genebert.simulate.cells import sigmoid
from genebert.simulate.cohort import Cohort, CohortVariants
from genebert.simulate.layout import Ints, Map
from genebert.simulate.motifs import Panel
from genebert.simulate.parameters import Settings
from genebert.simulate.variants import Variants, World

HAS_SITE = -2.5  # a region "has a site" of a factor from this strength on: the weakest planted


def achieved(
    genome: Genome, atlas: Atlas, settings: Settings, panel: Panel,
    drawn: Variants, people: Cohort,
) -> dict[str, Any]:  # fmt: skip
    """Return the statistics of the simulated genome that its page in the docs names."""
    opened, regions = atlas.openness.open, genome.regions
    known = genome.codes < 4
    contig = genome.layout.map.contig_of(regions.start)
    similar = jaccard(sparse.csr_matrix(opened.T))[2] - 2 * np.eye(opened.shape[1])
    chip = [panel.index(name) for name in settings.chip_tfs]
    factors = {}
    for k, (t, name) in enumerate(zip(chip, settings.chip_tfs, strict=True)):
        has_site = atlas.strength[:, t] >= HAS_SITE
        factors[name] = {
            "regions_with_site": float(has_site.mean()),
            "bound_share_of_open": float(atlas.bound[:, :, k][opened].mean()),
            "discordant_share": statistics.discordance(has_site, opened, atlas.bound[:, :, k]),
            "oracle_auroc": auroc(
                atlas.bound[:, :, k][opened], atlas.label_probability[:, :, k][opened]
            ),
            "activity": dict(
                zip(settings.cell_types, atlas.cells.activity[:, t].tolist(), strict=True)
            ),
        }
    splice = [genome.donors, genome.acceptors]
    return {
        "genome": {
            "bases": len(known),
            "n_fraction": float((~known).mean()),
            "soft_masked_fraction": float(genome.mask[known].mean()),
            "gc": float(np.isin(genome.codes[known], (1, 2)).mean()),
            "repeat_copies": genome.repeats,
        },
        "regions": {
            "count": len(regions.start),
            "promoters": int((regions.promoter >= 0).sum()),
            "constitutive": float(opened.all(axis=1).mean()),
            "mean_breadth": float(opened.mean()),
            "open_per_cell_type": dict(
                zip(settings.cell_types, opened.sum(axis=0).tolist(), strict=True)
            ),
            "peaks_per_cell_type": dict(
                zip(settings.cell_types, [len(x.start) for x in atlas.peaks], strict=True)
            ),
            "sites_per_region": float((genome.sites.region >= 0).sum() / len(regions.start)),
            "decoy_sites": int((genome.sites.region < 0).sum()),
            "profile_correlation": statistics.profile_correlation(opened, regions, contig),
            "nearest_type": {
                name: [settings.cell_types[int(similar[c].argmax())], float(similar[c].max())]
                for c, name in enumerate(settings.cell_types)
            },
        },
        "binding": factors,
        "elements": {
            "promoters_labelled": int(genome.tss.used.sum()),
            "promoters_candidates": len(genome.tss.used),
            "promoters_oracle_auroc": auroc(genome.tss.used, genome.tss.probability),
            "splice_used": int(sum(x.used.sum() for x in splice)),
            "splice_candidates": int(sum(len(x.used) for x in splice)),
            "splice_oracle_auroc": auroc(
                np.concatenate([x.used for x in splice]),
                np.concatenate([x.probability for x in splice]),
            ),
        },
        "variants": {
            "count": len(drawn.label),
            "causal": int(drawn.label.sum()),
            "oracle_auroc": auroc(drawn.label == 1, drawn.probability),
        },
        "cohort": {
            "cases": int(people.case.sum()),
            "individuals": len(people.case),
            "oracle_auroc": auroc(people.case == 1, people.probability),
            "genetic_auroc": auroc(people.case == 1, people.genetic),
            "mean_frequency_difference": float(
                np.abs(people.frequency[0] - people.frequency[1]).mean()
            ),
        },
    }


def causal_markers(markers: CohortVariants, contigs: Map) -> list[dict[str, Any]]:
    """Return the causal variants of the cohort as plain records."""
    rows = np.flatnonzero(markers.weight)
    contig, local = contigs.local(markers.position[rows])
    return [
        {
            "contig": contig[i],
            "position": int(local[i]) + 1,
            "ref": markers.ref[row],
            "alt": markers.alt[row],
            "effect": round(float(markers.effect[row]), 5),
            "weight": round(float(markers.weight[row]), 5),
        }
        for i, row in enumerate(rows.tolist())
    ]


def write_variants(
    path: str, truth: str, drawn: Variants, world: World, settings: Settings
) -> None:
    """Write the table of variants and its truth."""
    contig, local = world.contigs.local(drawn.position)
    common = {
        "contig": contig,
        "position": local + 1,
        "ref": list(decode(world.codes[drawn.position])),
        "alt": list(decode(drawn.alt)),
    }
    cell = [settings.cell_types[c] for c in drawn.cell]
    writers.write_table(
        path,
        common
        | {
            "label": drawn.label,
            "cell_type": cell,
            "tss_distance": drawn.distance,
            "class": drawn.kind.tolist(),
            "match": drawn.match,
        },
    )
    writers.write_table(
        truth,
        common | {"cell_type": cell, "effect": drawn.effect, "probability": drawn.probability},
    )


def write_truth(
    genome: Genome,
    atlas: Atlas,
    settings: Settings,
    panel: Panel,
    truth_promoters: str,
    truth_splicing: str,
    truth_binding: str,
    truth_openness: str,
    truth_sites: str,
) -> None:
    """Write the probabilities of promoters, splice sites, binding and openness, and the sites."""
    contigs, regions = genome.layout.map, genome.regions

    def signs(strand: Ints) -> list[str]:
        return ["+" if side > 0 else "-" for side in strand.tolist()]

    def places(region: Ints) -> dict[str, Any]:
        contig, start = contigs.local(regions.start[region])
        return {"contig": contig, "start": start, "end": start + regions.width}

    contig, local = contigs.local(genome.tss.position)
    writers.write_table(
        truth_promoters,
        {
            "contig": contig,
            "position": local,
            "strand": signs(genome.tss.strand),
            "probability": genome.tss.probability,
        },
    )
    both = (genome.donors, genome.acceptors)
    position = np.concatenate([x.position for x in both])
    order = np.argsort(position, kind="stable")
    kind = np.repeat(["donor", "acceptor"], [len(x.used) for x in both])
    contig, local = contigs.local(position[order])
    writers.write_table(
        truth_splicing,
        {
            "contig": contig,
            "position": local,
            "strand": signs(np.concatenate([x.strand for x in both])[order]),
            "class": kind[order].tolist(),
            "probability": np.concatenate([x.probability for x in both])[order],
        },
    )
    chip = [panel.index(name) for name in settings.chip_tfs]
    shown = atlas.openness.open[:, :, None] | (atlas.strength[:, None, chip] >= HAS_SITE)
    region, cell, factor = np.nonzero(shown)
    writers.write_table(
        truth_binding,
        {
            **places(region),
            "tf": np.array(settings.chip_tfs)[factor],
            "cell_type": np.array(settings.cell_types)[cell],
            "probability": atlas.label_probability[region, cell, factor],
        },
    )
    region, cell = (x.ravel() for x in np.indices(atlas.openness.logit.shape))
    writers.write_table(
        truth_openness,
        {
            **places(region),
            "cell_type": np.array(settings.cell_types)[cell],
            "probability": sigmoid(atlas.openness.logit[region, cell]),
        },
    )
    planted = genome.sites
    contig, local = contigs.local(planted.start)
    inside = planted.region >= 0
    own = np.where(inside, regions.start[np.maximum(planted.region, 0)], -1)
    base = contigs.offsets[contigs.contig_of(planted.start)]
    own = np.where(inside, own - base, -1)
    writers.write_table(
        truth_sites,
        {
            "contig": contig,
            "start": local,
            "end": local + planted.width,
            "strand": signs(planted.strand),
            "motif": np.array(panel.names)[planted.motif],
            "region_start": own,
            "region_end": np.where(inside, own + regions.width, -1),
            "strength": planted.strength,
            "class": np.where(inside, "site", "decoy").tolist(),
        },
    )
