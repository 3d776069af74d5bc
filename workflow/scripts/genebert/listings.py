"""Turn a provider's own listing of files into a table of cell types or ChIP-seq sets.

Comes in: a listing as the provider serves it, which is a row of the manifest: the HTML index of the
directory of CATlas (one BED per cell type), or a ``files.txt`` of ENCODE at UCSC (a line per file:
name, TAB, ``key=value; key=value``). Goes out: a table with a row per file that the pipeline reads,
and with the address from which the rule ``download_listed`` brings it. Nothing is made up: what the
listing does not say is left empty.

Names. The provider's names become names that can stand in a path: ``+`` becomes ``pos``, every
other run of odd characters ``_``; ``label`` keeps the original. Two originals that fall together
are an error, as they would silently become replicates of one another.

ENCODE. A cell that was treated is another cell type than the untreated one, as in the tracks of
DeepSEA and Basset: its name gets the treatment (``MCF-7.Estradiol``), in the DNase and in the TFBS
listing alike, so that ChIP-seq of treated cells meets the chromatin of the same treatment or none.
Antibodies against one factor are one TF: the catalogue number in ``CTCF_(SC-15914)`` is cut off. Of
several sets of one TF in one cell type (other laboratories, other antibodies), which are no
replicates of one experiment, the largest file is taken, and the others are named in the log.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from genebert.errors import InputError
from genebert.lines import text_lines
from genebert.tables import NAME, safe_name

VERSION = 1
log = logging.getLogger("genebert")

DOWNLOAD = ("version", "url", "mirror_url", "md5", "bytes", "licence")
ATLAS = ("cell_type", "peaks", "format", "label", *DOWNLOAD)
CHIP = ("tf", "cell_type", "peaks", "label", *DOWNLOAD)
PEAKS = (".narrowPeak", ".narrowPeak.gz")
BEDS = (".bed", ".bed.gz")
_MD5 = re.compile(r"[0-9a-f]{32}\Z")

Row = dict[str, str]


class _Links(HTMLParser):
    """Collects the targets of all links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the ``href`` of an ``<a>``."""
        if tag == "a":
            self.found += [value for key, value in attrs if key == "href" and value]


def read_index(
    path: str | Path, suffixes: Sequence[str], directories: Sequence[str] = ()
) -> list[str]:
    """Return the names of the files that the HTML index of a directory links to, sorted.

    Links to other directories, to sub-directories and to sorted views (``?C=N``) are passed over.

    Parameters
    ----------
    suffixes : what the names of wanted files end with.
    directories : addresses of the directory; absolute links must lie there.

    Raises
    ------
    InputError
        If the page links to no such file.
    """
    parser = _Links()
    for _, line in text_lines(path, page=True):
        parser.feed(line + "\n")
    parser.close()
    bases = [urlsplit(url).path.rpartition("/")[0] + "/" for url in directories if url]
    names = set()
    for link in parser.found:
        target = re.split(r"[?#]", link)[0].removeprefix("./")  # in names these two are quoted
        if urlsplit(link).scheme or link.startswith("/"):
            target = urlsplit(target).path
            for base in bases:
                target = target.removeprefix(base)
        name = unquote(target)
        if "/" not in name and "\0" not in name and name.endswith(tuple(suffixes)):
            names.add(name)
    if not names:
        raise InputError(
            f"links to no file {' or '.join(suffixes)}",
            file=path,
            found=f"{len(parser.found)} links",
            expected="the HTML index of a directory",
        )
    return sorted(names)


def read_files_txt(path: str | Path) -> list[tuple[int, str, dict[str, str]]]:
    """Return (line number, name, fields) of every line of a ``files.txt`` of ENCODE at UCSC.

    Raises
    ------
    InputError
        If a line has no fields, a name is no plain file name or is repeated, or the file is empty.
    """
    entries = []
    seen: dict[str, int] = {}
    for row, line in text_lines(path, page=True):  # what is wrong is told of the line
        if not line.strip():
            continue
        name, tab, text = line.partition("\t")
        fields = dict(part.split("=", 1) for part in re.split(r";\s*", text) if "=" in part)
        if not tab or not fields:
            raise InputError(
                "is not a line of files.txt",
                file=path,
                row=row,
                found=line[:60],
                expected="name, TAB, key=value; key=value",
            )
        name = name.strip()
        if not NAME.match(name):
            raise InputError("is not the name of a file", file=path, row=row, found=name)
        if seen.setdefault(name, row) != row:
            raise InputError(f"repeats line {seen[name]}", file=path, row=row, found=name)
        entries.append((row, name, {key.strip(): value.strip() for key, value in fields.items()}))
    if not entries:
        raise InputError("is empty", file=path, expected="name, TAB, key=value; key=value")
    return entries


def beside(url: str, name: str) -> str:
    """Return the address of a file that lies beside a listing, which is a URL or a local path."""
    if not url:
        return ""
    if urlsplit(url).scheme:
        return url.rpartition("/")[0] + "/" + quote(name)
    return os.path.join(os.path.dirname(url), name)


def _download(origin: Mapping[str, str], name: str, fields: Mapping[str, str]) -> Row:
    """Return the columns that say where a file comes from."""
    md5, size = fields.get("md5sum", "").lower(), fields.get("size", "")
    return {
        "version": origin.get("version", ""),
        "url": beside(origin["url"], name),
        "mirror_url": beside(origin.get("mirror_url", ""), name),
        "md5": md5 if _MD5.match(md5) else "",
        # UCSC writes sizes as 1.2M; only an exact number of bytes can be checked
        "bytes": size if size.isascii() and size.isdecimal() else "",
        "licence": origin.get("licence", ""),
    }


def catlas(listing: str, origin: Mapping[str, str]) -> list[Row]:
    """Return a row per BED of the index of CATlas; the cell type is the name of its file."""
    rows = []
    for name in read_index(listing, BEDS, (origin["url"], origin.get("mirror_url", ""))):
        suffix = next(end for end in BEDS if name.endswith(end))
        label = name.removesuffix(suffix)
        cell = safe_name(label, file=listing)
        rows.append(
            {
                "cell_type": cell,
                "peaks": f"resource:catlas/{cell}{suffix}",
                "format": "bed",
                "label": label,
                **_download(origin, name, {}),
            }
        )
    return rows


def _encode(listing: str) -> list[tuple[int, str, dict[str, str], str, str]]:
    """Return (line, name, fields, cell type, label) of the peak files of a ``files.txt``."""
    out = []
    skipped = 0
    for row, name, fields in read_files_txt(listing):
        if not name.endswith(PEAKS):
            skipped += 1
            continue
        if not fields.get("cell"):
            raise InputError("no cell is given", file=listing, row=row, found=name)
        label, treatment = fields["cell"], fields.get("treatment", "None")
        cell = safe_name(label, file=listing)
        if treatment not in ("", "None"):
            label = f"{label} {treatment}"
            cell += f".{safe_name(treatment, file=listing)}"
        out.append((row, name, fields, cell, label))
    if not out:
        raise InputError(f"names no {PEAKS[0]} file", file=listing)
    if skipped:
        log.info("%s: %d files that hold no peaks are left out", listing, skipped)
    return out


def encode_dnase(listing: str, origin: Mapping[str, str]) -> list[Row]:
    """Return a row per DNase-seq peak file of ENCODE; rows of one cell type are replicates."""
    return [
        {
            "cell_type": cell,
            "peaks": f"resource:encode_dnase/{name}",
            "format": "narrowPeak",
            "label": label,
            **_download(origin, name, fields),
        }
        for _, name, fields, cell, label in _encode(listing)
    ]


def _size(text: str) -> float:
    """Return the bytes of a size such as ``1234``, ``12K`` or ``1.2M``; 0 where it is none."""
    match = re.fullmatch(r"([0-9.]+)([KMG]?)", text.upper())
    try:
        return float(match[1]) * 1024 ** " KMG".index(match[2] or " ") if match else 0.0
    except ValueError:
        return 0.0


def encode_tfbs(listing: str, origin: Mapping[str, str]) -> list[Row]:
    """Return a row per TF and cell type of the ChIP-seq peak files of ENCODE."""
    best: dict[tuple[str, str], tuple[float, Row]] = {}
    for row, name, fields, cell, label in _encode(listing):
        antibody = fields.get("antibody", "")
        tf = safe_name(re.sub(r"_?\(.*\)\Z", "", antibody) or "", file=listing) if antibody else ""
        if not tf:
            raise InputError("no antibody is given", file=listing, row=row, found=name)
        size = _size(fields.get("size", ""))
        entry = {
            "tf": tf,
            "cell_type": cell,
            "peaks": f"resource:encode_tfbs/{name}",
            "label": f"{antibody} in {label}",
            **_download(origin, name, fields),
        }
        other = best.setdefault((tf, cell), (size, entry))
        if other[1] is not entry:
            if size > other[0]:
                best[tf, cell] = (size, entry)
            kept = best[tf, cell][1]
            left = other[1] if kept is entry else entry
            log.info("%s in %s: %s is left out for %s", tf, cell, left["peaks"], kept["peaks"])
    return [entry for _, entry in best.values()]


def check_labels(rows: Sequence[Row], key: str, label: str, *, file: str) -> None:
    """Raise :class:`InputError` if two labels of the provider became one name."""
    labels: dict[str, str] = {}
    for row in rows:
        if labels.setdefault(row[key], row[label]) != row[label]:
            raise InputError(
                f"two labels become the name {row[key]}",
                file=file,
                found=f"{labels[row[key]]} and {row[label]}",
                expected="labels that differ in more than odd characters",
            )


def write_table(*, listing: str, table: str, name: str, row: Mapping[str, str]) -> None:
    """Write the table of a listing.

    Parameters
    ----------
    listing : input, the listing as it was downloaded.
    table : output, TSV sorted by cell type (and TF): for ``catlas`` and ``encode_dnase``
        cell_type, peaks (``resource:NAME/FILE``), format; for ``encode_tfbs`` tf, cell_type,
        peaks; then label (the provider's name) and version, url, mirror_url, md5, bytes, licence.
    name : of the listing, see ``layout.LISTINGS``.
    row : its row of the manifest; the files lie beside its ``url`` and ``mirror_url``.

    Raises
    ------
    InputError
        If the listing is of another form, names no file, or two of its labels become one name.
    """
    columns = CHIP if name == "encode_tfbs" else ATLAS
    rows = {"catlas": catlas, "encode_dnase": encode_dnase, "encode_tfbs": encode_tfbs}[name](
        listing, row
    )
    if columns is ATLAS:
        check_labels(rows, "cell_type", "label", file=listing)
    check_labels(rows, "peaks", "url", file=listing)
    rows.sort(key=lambda entry: tuple(entry[key] for key in columns[:3]))
    with open(table, "w", encoding="utf-8") as handle:
        handle.write("\t".join(columns) + "\n")
        for entry in rows:
            handle.write("\t".join(entry[key] for key in columns) + "\n")
    cells = len({entry["cell_type"] for entry in rows})
    log.info("%s: %d files of %d cell types", name, len(rows), cells)
