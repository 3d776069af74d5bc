"""Genomic sequence as small integers: A=0, C=1, G=2, T=3, anything else 4 (N).

One lookup table, one reverse complement and one 2-bit packing for the whole project. pysam is
loaded where a FASTA is opened: training reads none.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genebert.errors import InputError, reading

N = 4
IUPAC = b"ACGTRYSWKMBDHVNacgtryswkmbdhvn"  # letters of DNA; all but ACGT are read as N
_CODE_OF_BYTE = np.full(256, N, dtype=np.uint8)
for _code, _letter in enumerate("ACGT"):
    _CODE_OF_BYTE[ord(_letter)] = _CODE_OF_BYTE[ord(_letter.lower())] = _code
_BYTE_OF_CODE = np.frombuffer(b"ACGTN", dtype=np.uint8)
_COMPLEMENT = np.array([3, 2, 1, 0, 4], dtype=np.uint8)

Codes = NDArray[np.uint8]


def encode(sequence: str | bytes) -> Codes:
    """Return uint8[L] codes of a DNA string; case is ignored."""
    raw = sequence.encode("ascii", "replace") if isinstance(sequence, str) else sequence
    return _CODE_OF_BYTE[np.frombuffer(raw, dtype=np.uint8)]


def decode(codes: Codes) -> str:
    """Return the upper-case DNA string of uint8[L] codes."""
    return _BYTE_OF_CODE[codes].tobytes().decode("ascii")


def reverse_complement(codes: Codes) -> Codes:
    """Return the reverse complement along the last axis; N stays N."""
    return np.ascontiguousarray(_COMPLEMENT[codes[..., ::-1]])


def gc_content(codes: Codes) -> NDArray[np.float64]:
    """Return the fraction of G and C among the known bases along the last axis (0.5 if none)."""
    known = (codes != N).sum(axis=-1)
    gc = ((codes == 1) | (codes == 2)).sum(axis=-1)
    return np.where(known > 0, gc / np.maximum(known, 1), 0.5)


def pack(codes: Codes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pack codes[..., L] to 2 bits a base and a bit mask of N.

    Returns
    -------
    packed : uint8[..., ceil(L / 4)], the first base in the lowest two bits; N packs as A.
    n_mask : uint8[..., ceil(L / 8)], little-endian bits, 1 where the base is N.
    """
    length = codes.shape[-1]
    padded = np.zeros((*codes.shape[:-1], -(-length // 4) * 4), dtype=np.uint8)
    padded[..., :length] = np.where(codes == N, 0, codes)
    quads = padded.reshape(*codes.shape[:-1], -1, 4)
    packed = quads[..., 0] | quads[..., 1] << 2 | quads[..., 2] << 4 | quads[..., 3] << 6
    return packed, np.packbits(codes == N, axis=-1, bitorder="little")


def unpack(packed: NDArray[np.uint8], n_mask: NDArray[np.uint8], length: int) -> Codes:
    """Invert :func:`pack`; returns uint8[..., length]."""
    quads = np.stack([packed >> shift & 3 for shift in (0, 2, 4, 6)], axis=-1)
    codes = quads.reshape(*packed.shape[:-1], -1)[..., :length]
    unknown = np.unpackbits(n_mask, axis=-1, count=length, bitorder="little").astype(bool)
    return np.where(unknown, np.uint8(N), codes)


class Genome:
    """Random access to an indexed FASTA (plain or bgzipped).

    Parameters
    ----------
    path : FASTA with ``.fai`` (and ``.gzi`` where it is bgzipped).

    Raises
    ------
    InputError
        If the file or its index cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        import pysam

        self.path = str(path)
        with reading(path, "cannot be read as an indexed FASTA"):
            self._fasta = pysam.FastaFile(self.path)
        self.lengths: dict[str, int] = dict(
            zip(self._fasta.references, self._fasta.lengths, strict=True)
        )
        self._whole = lru_cache(maxsize=2)(self._read_contig)

    def _read_contig(self, contig: str) -> NDArray[np.uint8]:
        return np.frombuffer(self._fasta.fetch(contig).encode("ascii"), dtype=np.uint8)

    def raw(self, contig: str, start: int, end: int) -> NDArray[np.uint8]:
        """Return the letters of contig[start:end] as ASCII bytes, soft-masking kept.

        Raises
        ------
        InputError
            If the contig is unknown or the interval leaves it.
        """
        if contig not in self.lengths:
            raise InputError("contig is not in the genome", file=self.path, found=contig)
        if not 0 <= start <= end <= self.lengths[contig]:
            raise InputError(
                f"interval leaves {contig}",
                file=self.path,
                found=f"{start}-{end}",
                expected=f"0-{self.lengths[contig]}",
            )
        return self._whole(contig)[start:end]

    def codes(self, contig: str, start: int, end: int) -> Codes:
        """Return uint8[end - start] codes of an interval."""
        return _CODE_OF_BYTE[self.raw(contig, start, end)]

    def repeats(self, contig: str, start: int, end: int) -> NDArray[np.bool_]:
        """Return bool[end - start], true where the base is soft-masked (lower case)."""
        return self.raw(contig, start, end) >= ord("a")

    def window(self, contig: str, start: int, end: int) -> Codes:
        """Return codes of an interval that may leave the contig; what lies outside is N."""
        length = self.lengths.get(contig, 0)
        inside = self.codes(contig, min(max(start, 0), length), max(min(end, length), 0))
        before = max(0, min(-start, end - start))
        after = end - start - before - len(inside)
        return np.concatenate([np.full(before, N, np.uint8), inside, np.full(after, N, np.uint8)])
