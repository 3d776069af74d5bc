"""The transcription factors of the simulated genome: real matrices, scores and site sampling.

In: JASPAR 2024 CORE, read from the copy that pyjaspar carries (no network). Out: a
:class:`Panel` with probabilities, log-odds and the linear map from a match score to a site
strength in logits, and the scan that turns sequences into strengths.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyjaspar import jaspardb

from genebert.genome import Codes, N
from genebert.progress import Progress
from genebert.simulate.parameters import Parameters

Floats = NDArray[np.float64]
BACKGROUND = np.array([0.29, 0.21, 0.21, 0.29])  # the genome's mean composition
PSEUDOCOUNT = 0.01  # times the background, as in the pipeline's own scan

# Name, matrix. Versions with at least 11 bits are pinned, so that each can reach p = 1e-4.
HOUSEKEEPING = (
    ("CTCF", "MA0139.2"),
    ("SP1", "MA0079.5"),
    ("NRF1", "MA0506.3"),
    ("YY1", "MA0095.2"),
    ("ELK1", "MA0028.3"),
    ("NFYB", "MA0502.3"),
    ("ZNF143", "MA0088.2"),
    ("USF2", "MA0526.5"),
    ("REST", "MA0138.3"),
)
LINEAGE = (
    ("SPI1", "MA0080.7"),
    ("GATA1", "MA0035.3"),
    ("CEBPA", "MA0102.3"),
    ("EBF1", "MA0154.5"),
    ("RUNX1", "MA0002.1"),
    ("PAX5", "MA0014.2"),
    ("IRF4", "MA1419.2"),
    ("TBX21", "MA0690.3"),
    ("EOMES", "MA0800.2"),
    ("KLF1", "MA0493.3"),
    ("NFE2", "MA0841.2"),
    ("MAF", "MA1520.2"),
    ("JUNB", "MA0490.3"),
    ("NFKB1", "MA0105.4"),
    ("STAT1", "MA0137.4"),
    ("STAT5A", "MA1624.2"),
    ("MEF2C", "MA0497.2"),
    ("FLI1", "MA0475.3"),
    ("TCF7L2", "MA0523.2"),
    ("MEIS1", "MA1639.2"),
    ("HLF", "MA0043.4"),
    ("POU2F2", "MA0507.3"),
    ("GFI1B", "MA0483.2"),
    ("MECOM", "MA0029.2"),
    ("BCL6", "MA0463.3"),
    ("HNF4A", "MA0114.5"),
    ("TEAD4", "MA0809.3"),
    ("E2F1", "MA0024.3"),
    ("TFAP4", "MA0691.1"),
    ("RFX5", "MA0510.3"),
    ("ATF4", "MA0833.3"),
)
NAMES = tuple(name for name, _ in HOUSEKEEPING + LINEAGE)
# Partners that bind together (composite elements of haematopoiesis); others pair with a neighbour.
PARTNERS = {
    "SPI1": "IRF4",
    "GATA1": "TFAP4",
    "CEBPA": "RUNX1",
    "RUNX1": "FLI1",
    "EBF1": "PAX5",
    "CTCF": "ZNF143",
    "JUNB": "IRF4",
    "TBX21": "STAT1",
}


@dataclass(frozen=True)
class Motif:
    """One transcription factor.

    ``published`` (as in JASPAR), ``probability`` (with pseudocount) and ``log_odds`` (natural log)
    are float64[width, 4]; a site of score S has strength ``gain * S + offset`` logits.
    """

    name: str
    matrix_id: str
    published: Floats
    probability: Floats
    log_odds: Floats
    gain: float
    offset: float

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.probability)

    def strength(self, codes: Codes) -> Floats:
        """Return float64[n], the strengths of uint8[n, width] on the motif's own strand."""
        table = np.concatenate([self.log_odds, np.full((self.width, 1), -30.0)], axis=1)
        scores = table[np.arange(self.width), codes].sum(axis=1)
        return np.asarray(self.gain * scores + self.offset)

    def sample(self, targets: Floats, rng: np.random.Generator) -> Codes:
        """Return uint8[n, width], sites whose expected strengths are ``targets``.

        Bases are drawn from p^b, normalised, with the exponent b that gives the mean strength.
        """
        exponents = np.linspace(0.0, 6.0, 121)
        logp = np.log(self.probability)
        tempered = np.exp(exponents[:, None, None] * logp)
        tempered /= tempered.sum(axis=2, keepdims=True)
        means = self.gain * (tempered * self.log_odds).sum(axis=(1, 2)) + self.offset
        b = np.interp(targets, means, exponents)
        noise = rng.gumbel(size=(len(targets), self.width, 4))
        drawn = (b[:, None, None] * logp + noise).argmax(axis=2)
        return np.asarray(drawn, dtype=np.uint8)


def score_at(log_odds: Floats, p_value: float, step: float = 0.01) -> float:
    """Return the score that background sequence reaches with probability ``p_value``.

    The distribution of the score is the convolution of the columns, on a grid of ``step`` nats.
    """
    columns = np.round((log_odds - log_odds.min(axis=1, keepdims=True)) / step).astype(int)
    density = np.ones(1)
    for column in columns:
        longer = np.zeros(len(density) + column.max())
        for base in range(4):
            longer[column[base] : column[base] + len(density)] += BACKGROUND[base] * density
        density = longer
    tail = np.cumsum(density[::-1])[::-1]
    index = int(np.searchsorted(-tail, -p_value))
    return float(index * step + log_odds.min(axis=1).sum())


@dataclass(frozen=True)
class Panel:
    """All motifs, in a fixed order."""

    motifs: tuple[Motif, ...]
    housekeeping: NDArray[np.bool_]  # bool[M]
    partner: NDArray[np.int64]  # int64[M], index of the partner

    @property
    def names(self) -> list[str]:
        """Names in order."""
        return [motif.name for motif in self.motifs]

    @property
    def max_width(self) -> int:
        """Width of the widest motif."""
        return max(motif.width for motif in self.motifs)

    def index(self, name: str) -> int:
        """Return the place of a factor."""
        return self.names.index(name)


def load_panel(parameters: Parameters) -> Panel:
    """Read the matrices and calibrate their strengths."""
    database = jaspardb(release="JASPAR2024")
    motifs = []
    for name, matrix_id in HOUSEKEEPING + LINEAGE:
        record = database.fetch_motif_by_id(matrix_id)
        counts = np.array([record.counts[base] for base in "ACGT"], dtype=float).T
        probability = counts / counts.sum(axis=1, keepdims=True)
        smooth = (probability + PSEUDOCOUNT * BACKGROUND) / (1 + PSEUDOCOUNT)
        log_odds = np.log(smooth / BACKGROUND)
        low = score_at(log_odds, 1e-4)
        high = min(0.9 * log_odds.max(axis=1).sum(), low + parameters.strong_score)
        gain = (parameters.strong_strength - parameters.weak_strength) / (high - low)
        offset = parameters.weak_strength - gain * low
        motifs.append(
            Motif(name, matrix_id, probability, smooth, log_odds, float(gain), float(offset))
        )
    count = len(motifs)
    partner = [
        NAMES.index(PARTNERS[name]) if name in PARTNERS else (i + 1) % count
        for i, name in enumerate(NAMES)
    ]
    housekeeping = np.arange(count) < len(HOUSEKEEPING)
    return Panel(tuple(motifs), housekeeping, np.array(partner))


def _triples(codes: Codes, extra: int) -> NDArray[np.intp]:
    """Return the index of the three bases from each position, in base 5, N beyond the end."""
    padded = np.full((len(codes), codes.shape[1] + extra + 2), N, dtype=np.intp)
    padded[:, : codes.shape[1]] = codes
    return np.asarray(25 * padded[:, :-2] + 5 * padded[:, 1:-1] + padded[:, 2:])


def _triple_tables(log_odds: Floats) -> list[NDArray[np.float32]]:
    """Return float32[125] per three columns; N scores -30 within the motif, 0 beyond it."""
    width = len(log_odds)
    table = np.zeros((-(-width // 3) * 3, 5))
    table[:width, :4] = log_odds
    table[:width, 4] = -30.0
    return [
        (a[:, None, None] + b[None, :, None] + c[None, None, :]).reshape(-1).astype(np.float32)
        for a, b, c in table.reshape(-1, 3, 5)
    ]


def scan(codes: Codes, panel: Panel) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield, motif by motif, the strengths of all its placements.

    Parameters
    ----------
    codes : uint8[n, L].

    Yields
    ------
    index of the motif and float32[n, L - width + 1, 2] strengths (forward, reverse strand).
    """
    extra = panel.max_width + 2
    triples = _triples(codes, extra)
    for index, motif in enumerate(panel.motifs):
        places = codes.shape[1] - motif.width + 1
        out = np.empty((len(codes), places, 2), dtype=np.float32)
        for strand, log_odds in enumerate((motif.log_odds, motif.log_odds[::-1, ::-1])):
            score = np.zeros((len(codes), places), dtype=np.float32)
            for k, table in enumerate(_triple_tables(log_odds)):
                score += table[triples[:, 3 * k : 3 * k + places]]
            out[:, :, strand] = motif.gain * score + motif.offset
        yield index, out


def region_strength(
    codes: Codes, panel: Panel, chunk: int = 2_000
) -> tuple[Floats, NDArray[np.int32]]:
    """Return the strength of whole sequences for every motif: log sum exp over placements.

    Sites are independent in energy, so a homotypic cluster is stronger than its best site.

    Returns
    -------
    strength : float64[n, M].
    centre : int32[n, M], centre of the best placement.
    """
    strength = np.empty((len(codes), len(panel.motifs)))
    centre = np.empty(strength.shape, dtype=np.int32)
    told = Progress("scanning regions", len(codes), "regions")
    for start in range(0, len(codes), chunk):
        told.at(start)
        part = slice(start, start + chunk)
        for index, placed in scan(codes[part], panel):
            best = placed.max(axis=2)
            centre[part, index] = best.argmax(axis=1) + panel.motifs[index].width // 2
            strength[part, index] = np.log(np.exp(placed).sum(axis=(1, 2), dtype=np.float64))
    return strength, centre
