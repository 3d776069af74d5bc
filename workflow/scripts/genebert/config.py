"""Validate the configuration and fill in defaults.

In comes the merged configuration and the JSON Schema; out goes the same configuration with
defaults, or one line that names the key, what was found and what was expected. The reference in
``config/README.md`` is written from the same schema (:mod:`genebert.config_reference`).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from genebert.errors import InputError, nearest
from genebert.layout import ATLAS_FILES, DATASET_FILES, EXTRA_MODELS, LISTINGS, SHARED_MODELS
from genebert.splits import Splits
from genebert.tables import NAME, check_resource, expand_path, such_as
from genebert.tasks import check_kind

SIMULATED = "results/simulated/"
OPTIONAL = ("gtf", "blacklist")  # files of the genome that a run can do without
_EXPECTED = {
    "enum": "one of {}",
    "type": "a value of type {}",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "multipleOf": "a multiple of {}",
}


def resolve(schema: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``schema`` with its ``$ref`` into ``$defs`` replaced; own keys win."""
    if "$ref" not in schema:
        return dict(schema)
    target = root["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
    own = {key: value for key, value in schema.items() if key != "$ref"}
    return {**resolve(target, root), **own}


def fill_defaults(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """Return a copy of ``value`` in which missing keys have the schema's defaults."""
    schema = resolve(schema, root)
    if isinstance(value, dict) and "properties" in schema:
        out = dict(value)
        for key, sub in schema["properties"].items():
            sub = resolve(sub, root)
            if key not in out and "default" in sub:
                out[key] = deepcopy(sub["default"])
            if key in out:
                out[key] = fill_defaults(out[key], sub, root)
        return out
    if isinstance(value, list) and "items" in schema:
        return [fill_defaults(item, schema["items"], root) for item in value]
    return value


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge as Snakemake merges configuration files: key by key, lists as a whole."""
    out = dict(base)
    for key, value in changes.items():
        old = out.get(key)
        nested = isinstance(value, Mapping) and isinstance(old, Mapping)
        out[key] = merged(old, value) if nested else value  # type: ignore[arg-type]
    return out


def key_of(error: ValidationError) -> str:
    """Return the dotted key of a validation error, e.g. ``datasets[2].kind``."""
    key = ""
    for part in error.absolute_path:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else str(part)
    return key or "(top level)"


def _written(value: Any, wanted: str) -> str:
    """Return a hint how YAML wants a value of another type to be written, or an empty string."""
    if wanted == "string" and isinstance(value, int | float):
        return f"; a text that looks like a number needs quotes: '{value}'"
    if wanted == "array" and isinstance(value, str | int | float):
        return f"; a list has brackets: [{value}]"
    if wanted == "object" and not isinstance(value, list):
        return "; here stands a block of keys, such as {key: value}"
    if wanted in ("number", "integer") and isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return ""
        plain = int(number) if wanted == "integer" and number.is_integer() else number
        text = f"{number:.1e}" if "e" in value.lower() and wanted == "number" else str(plain)
        return f"; YAML reads a text here, write {text}"
    return ""


def _one_line(error: ValidationError, file: str) -> InputError:
    schema: Any = error.schema
    if error.validator == "additionalProperties":
        assert isinstance(error.instance, dict)
        known = list(schema.get("properties", {}))
        unknown = min(map(str, set(error.instance) - set(known)))
        key = key_of(error)
        full = unknown if key == "(top level)" else f"{key}.{unknown}"
        return InputError(f"unknown key {full!r}{nearest(str(unknown), known)}", file=file)
    if error.validator == "required":
        return InputError(f"key {key_of(error)}: {error.message}", file=file)
    expected = schema.get("description")
    if error.validator in _EXPECTED:
        expected = _EXPECTED[error.validator].format(error.validator_value)
    if error.validator == "pattern" and error.validator_value == f"^{NAME.pattern}":
        expected = f"{expected}{such_as(error.instance)}"
    close = ""
    if error.validator == "enum" and isinstance(error.instance, str):
        close = nearest(error.instance, [str(v) for v in error.validator_value])
    if error.validator == "type":
        close = _written(error.instance, str(error.validator_value))
    return InputError(
        f"key {key_of(error)} has a wrong value{close}",
        file=file,
        found=error.instance,
        expected=expected,
    )


class _Once(yaml.SafeLoader):
    """Reads YAML and refuses a key that stands twice in one block."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        known: dict[Any, int] = {}
        for key_node, _ in node.value:
            key, line = self.construct_object(key_node, deep=True), key_node.start_mark.line + 1
            if key in known and key != "<<":
                raise InputError(
                    f"key {key!r} stands twice in one block", file=self.name, row=line,
                    found=f"the same key in line {known[key]}", expected="one of the two",
                )  # fmt: skip
            known[key] = line
        return super().construct_mapping(node, deep)


def check_keys(path: str | Path) -> None:
    """Check that no key of a YAML file stands twice; a reader of YAML takes the last one silently.

    Raises
    ------
    InputError
        If one does. What is no YAML at all is left to whoever reads it.
    """
    with contextlib.suppress(yaml.YAMLError, OSError), open(path, encoding="utf-8") as handle:
        yaml.load(handle, Loader=_Once)


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of everything in nested dicts and lists that is neither."""
    if isinstance(value, Mapping):
        for name, sub in value.items():
            yield from leaves(sub, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for number, sub in enumerate(value):
            yield from leaves(sub, f"{key}[{number}]")
    else:
        yield key, value


def strings(value: Any) -> list[tuple[str, str]]:
    """Return (dotted key, text) of every string in nested dicts and lists."""
    return [(key, leaf) for key, leaf in leaves(value) if isinstance(leaf, str)]


def check_config(
    config: Mapping[str, Any], schema: Mapping[str, Any], *, file: str = "config"
) -> dict[str, Any]:
    """Return the validated configuration with defaults filled in and paths expanded.

    Parameters
    ----------
    config : the merged configuration.
    schema : its JSON Schema (draft 2020-12).
    file : how the configuration is called in messages.

    Raises
    ------
    InputError
        For the first thing that is wrong, in one line.
    """
    config = dict(config)
    if str(config.get("offline")).lower() in ("true", "false"):  # a text by `--config offline=true`
        config["offline"] = str(config["offline"]).lower() == "true"
    for key, number in leaves(config):
        if isinstance(number, float) and not math.isfinite(number):
            raise InputError(
                f"key {key} has a wrong value", file=file, found=number, expected="a finite number"
            )
    error = best_match(Draft202012Validator(schema).iter_errors(config))
    if error is not None:
        raise _one_line(error, file)
    full: dict[str, Any] = fill_defaults(config, schema, schema)
    simulated = full["genome"]["source"] == "simulated"
    if simulated and "held_out_cell_types" not in config["splits"]:
        names = full.get("simulate", {}).get("held_out_cell_types", [])
        full["splits"]["held_out_cell_types"] = list(names)
    Splits.from_config(full["splits"])
    if not simulated:  # a genome of the user's has neither unless they say so
        for key in OPTIONAL:
            if str(full["genome"].get(key, "")).startswith(SIMULATED):
                full["genome"][key] = ""
    for key, text in strings(full):
        if not simulated and not key.startswith("simulate") and SIMULATED in text:
            raise InputError(
                f"key {key} still names the simulated genome",
                file=file,
                found=text,
                expected="a file of yours, because genome.source is 'files'"
                + (
                    " (or path: jaspar:2024:vertebrates, format: pyjaspar)"
                    if key.startswith("motifs.sources")
                    else ""
                ),
            )
    _check_sources(full, file)
    _expand(full, ("manifest", "resources_dir", "user_files", "pretrained"), file)
    for block, keys in (("genome", ("fasta", "gtf", "blacklist")), ("atlas", ATLAS_FILES)):
        _expand(full[block], keys, file)
    for row in full["motifs"]["sources"]:
        _expand(row, ("path",), file)
    _expand(full["motifs"], ("clusters",), file)
    for row in full["datasets"]:
        _expand(row, DATASET_FILES, file)
    if simulated and "cell_types" not in full.get("simulate", {}):
        raise InputError("key simulate.cell_types is missing", file=file)
    _check_names(full, file)
    return full


def _expand(block: dict[str, Any], keys: tuple[str, ...], file: str) -> None:
    for key in keys:
        if key in block:
            block[key] = expand_path(block[key], file=file)


def _check_sources(config: Mapping[str, Any], file: str) -> None:
    """Downloads and listings must be well named; the atlas needs the files of its format."""
    atlas = config["atlas"]
    for key, text in strings(config):
        if text.startswith("resource:"):
            check_resource(text, file=f"{file}, key {key}")
        elif text.startswith("listing:") and text.removeprefix("listing:") not in LISTINGS:
            name = text.removeprefix("listing:")
            raise InputError(
                f"key {key} names an unknown listing{nearest(name, LISTINGS)}",
                file=file,
                found=text,
                expected=f"one of {', '.join(LISTINGS)}",
            )
    if atlas["format"] != "table" and atlas["cell_types"].startswith("listing:"):
        raise InputError(
            "key atlas.cell_types is a listing, which has a row per peak file",
            file=file,
            found=f"atlas.format {atlas['format']}",
            expected="atlas.format table",
        )
    if atlas["format"] == "mtx":
        for name in ("peaks", "names"):
            if name not in atlas:
                raise InputError(f"key atlas.{name} is missing", file=file, expected="for mtx")


def _check_names(config: Mapping[str, Any], file: str) -> None:
    """Names must be unique, and every variant that is to be run must be defined."""
    for key, names in (
        ("datasets", [(row["task"], row["name"]) for row in config["datasets"]]),
        ("pretrain.variants", [row["name"] for row in config["pretrain"]["variants"]]),
        ("splits.held_out_cell_types", config["splits"]["held_out_cell_types"]),
        ("effort.variants", config["effort"]["variants"]),
    ):
        for number, name in enumerate(names):
            if name in names[:number]:
                raise InputError(f"key {key}[{number}] repeats a name", file=file, found=name)
            alike = [str(name).lower() == str(other).lower() for other in names[:number]]
            if any(alike) and key in ("datasets", "pretrain.variants"):  # are folders
                raise InputError(
                    f"key {key}[{number}] differs from an earlier name in its case only",
                    file=file,
                    found=name,
                    expected="another name: on some disks both were one folder",
                )
    shares = {"effort": config["effort"]["label_fractions"]}
    for number, row in enumerate(config["datasets"]):
        shares[f"datasets[{number}]"] = row.get("label_fractions", [])
    for block, values in shares.items():
        for number, value in enumerate(values):
            if value > 1 and value != int(value):
                raise InputError(
                    f"key {block}.label_fractions[{number}] is no share and no count",
                    file=file,
                    found=value,
                    expected="a share up to 1.0 or a whole number above 1",
                )
    defined = [row["name"] for row in config["pretrain"]["variants"]]
    if "full" not in defined:
        raise InputError(
            "key pretrain.variants has no row 'full', whose shapes all models share",
            file=file,
            found=", ".join(defined),
        )
    wanted = [("effort.variants", config["effort"]["variants"], defined)]
    for number, row in enumerate(config["datasets"]):
        key = f"datasets[{number}].variants"
        wanted.append((key, row.get("variants", []), config["effort"]["variants"]))
    for key, names, known in wanted:
        for name in names:
            if name not in known:
                raise InputError(
                    f"key {key} names an unknown variant{nearest(name, known)}",
                    file=file,
                    found=name,
                    expected=f"one of {', '.join(known)}",
                )
    for number, row in enumerate(config["datasets"]):
        check_kind(row)
        needs_gtf = row["kind"] == "gtf" and "path" not in row
        if needs_gtf and not config["genome"].get("gtf"):
            raise InputError(f"key datasets[{number}] needs genome.gtf", file=file)
        if row["kind"] not in ("gtf", "regions") and "path" not in row:
            raise InputError(f"key datasets[{number}].path is missing", file=file)
        if row["kind"] == "cohort" and "phenotypes" not in row:
            raise InputError(f"key datasets[{number}].phenotypes is missing", file=file)
        if "label_fractions" in row and row["task"] == "disease":
            raise InputError(
                f"key datasets[{number}].label_fractions: the task disease has no few-shot curve",
                file=file,
            )
        if row.get("cell_type") and row["kind"] in ("sequences", "narrowpeak", "regions", "cohort"):
            raise InputError(
                f"key datasets[{number}].cell_type: the kind {row['kind']} does not take one",
                file=file,
                found=row["cell_type"],
            )
        if row.get("scores") and row["kind"] != "variants":
            raise InputError(f"key datasets[{number}].scores needs the kind variants", file=file)
        for name in (row.get("matched") or {}).get("scores", ()):
            if name not in (row.get("scores") or ()):
                raise InputError(
                    f"key datasets[{number}].matched.scores names no score of the dataset"
                    + nearest(name, row.get("scores") or ()),
                    file=file,
                    found=name,
                )
        taken = {*SHARED_MODELS, *(name for names in EXTRA_MODELS.values() for name in names)}
        for name in row.get("scores") or ():
            if name in {*taken, "oracle"} or name.startswith("genebert"):
                raise InputError(
                    f"key datasets[{number}].scores: a model has this name", file=file, found=name
                )
