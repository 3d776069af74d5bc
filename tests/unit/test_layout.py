"""Where everything lies: pure functions from the configuration to paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from genebert import layout
from genebert.config import check_config
from genebert.errors import InputError


@pytest.fixture
def config(root: Path) -> dict[str, Any]:
    schema = yaml.safe_load((root / "workflow/schemas/config.schema.yaml").read_text())
    return check_config(yaml.safe_load((root / "config/config.yaml").read_text()), schema)


def test_models_of_every_dataset(config):
    by_kind = {row["kind"]: layout.models(config, row) for row in config["datasets"]}
    for kind, names in by_kind.items():
        required = {"genebert", "genebert-sequence", "scratch", "kmer-lr", "motif-lr", "gc"}
        assert required <= set(names), kind
        assert "oracle" in names
        assert "genebert-shuffled_matrix" in names
    assert "cnn" in by_kind["variants"]
    assert {"accessibility", "context-lr", "cell-average"} <= set(by_kind["narrowpeak"])
    assert {"gt-ag", "pwm"} <= set(by_kind["gtf"])
    assert {"covariates", "dosage-lr", "dosage-lr-weighted"} <= set(by_kind["cohort"])


def test_no_oracle_without_truth_and_no_variant_that_is_not_run(config):
    row = {key: value for key, value in config["datasets"][0].items() if key != "truth"}
    config["effort"]["variants"] = ["full"]
    names = layout.models(config, row)
    assert "oracle" not in names
    assert "genebert-sequence" not in names
    assert "genebert" in names


@pytest.mark.parametrize(
    ("model", "variant"),
    [
        ("genebert", "full"),
        ("genebert-mgm", "mgm"),
        ("scratch", None),
        ("kmer-lr", None),
        ("dosage-lr-weighted", "full"),
    ],
)
def test_variant_of_a_model(config, model, variant):
    assert layout.variant_of(model) == variant
    files = layout.weights(config, model)
    assert len(files) == (config["effort"]["pretrain_seeds"] if variant else 0)
    assert all(f"/{variant}/" in file for file in files)


def test_variant_overrides_the_block(config):
    config["pretrain"]["variants"].append(
        {"name": "region_transformer", "region_encoder": "transformer", "objectives": ["srm"]}
    )
    settings = layout.pretrain_settings(config, "region_transformer")
    assert settings["model"]["region_encoder"] == "transformer"
    assert list(settings["objectives"]) == ["srm"]
    assert config["pretrain"]["model"]["region_encoder"] == "swin"
    with pytest.raises(InputError, match="did you mean 'full'"):
        layout.pretrain_settings(config, "fulll")


def test_hash_sees_only_its_blocks(config):
    before = layout.config_hash(config, ("regions", "splits"))
    config["effort"]["finetune_steps"] += 1
    assert layout.config_hash(config, ("regions", "splits")) == before
    config["regions"]["width"] += 2
    assert layout.config_hash(config, ("regions", "splits")) != before


def test_cell_type_table_errors(config, tmp_path):
    config["genome"]["source"] = "files"
    table = tmp_path / "cells.tsv"
    config["atlas"]["cell_types"] = str(table)
    with pytest.raises(InputError, match="no such table"):
        layout.cell_type_peaks(config)
    table.write_text("cell_type\tpeak\tformat\nB\tb.bed\tbed\n")
    with pytest.raises(InputError, match="column 'peaks' is missing; did you mean 'peak'"):
        layout.cell_type_peaks(config)
    table.write_text("cell_type\tpeaks\tformat\nB\tb.bed\tbed\nB\tc.bed\tbed\n")
    with pytest.raises(InputError, match="line 3: row repeats line 2"):
        layout.cell_type_peaks(config)
    table.write_text("cell_type\tpeaks\tformat\nB/1\tb.bed\tbed\n")
    with pytest.raises(InputError, match="line 2: cell_type cannot be used in a file name"):
        layout.cell_type_peaks(config)
    table.write_text("cell_type\tpeaks\tformat\nMono\tm.bed\tbed\n")
    with pytest.raises(InputError, match="held-out cell type is not in the table"):
        layout.cell_type_peaks(config)
    table.write_text("cell_type\tpeaks\tformat\nMono\tm.bed\tbed\nNK\t/x/n.bed\tbed\n")
    assert layout.cell_type_peaks(config) == [str(tmp_path / "m.bed"), "/x/n.bed"]


def test_resources_become_downloads(config):
    config["genome"]["fasta"] = "resource:hg38.fa.gz"
    assert layout.source(config, "resource:hg38.fa.gz") == "resources/downloads/hg38.fa.gz"
    assert layout.resources_used(config) == ["resources/downloads/hg38.fa.gz"]


def test_versions_are_read_without_import(tmp_path):
    (tmp_path / "genebert").mkdir()
    (tmp_path / "genebert" / "stage.py").write_text("import nothing\n\nVERSION = 12\n")
    assert layout.version(tmp_path, "stage") == 12
    (tmp_path / "genebert" / "other.py").write_text("x = 1\n")
    with pytest.raises(InputError, match="VERSION"):
        layout.version(tmp_path, "other")
