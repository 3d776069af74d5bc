"""Where everything lies: pure functions from the configuration to paths."""

from __future__ import annotations

import pytest
import yaml

from genebert import layout
from genebert.config import check_config
from genebert.errors import InputError
from genebert.model import GeneBert, ModelConfig
from genebert.tasks import BUILDERS


def test_models_of_every_dataset(config):
    by_kind = {row["kind"]: layout.models(config, row) for row in config["datasets"]}
    for kind, names in by_kind.items():
        required = {"genebert", "genebert-sequence", "scratch", "kmer-lr", "motif-lr", "gc"}
        assert required <= set(names), kind
        assert "oracle" in names
        assert "genebert-shuffled_matrix" in names
    assert "cnn" in by_kind["variants"]
    assert {"accessibility", "context-lr", "cell-average"} <= set(by_kind["narrowpeak"])
    chip = next(row for row in config["datasets"] if row["kind"] == "narrowpeak")
    hidden = layout.models(config, {**chip, "anchor": "hidden"})
    assert set(by_kind["narrowpeak"]) - set(hidden) == {"accessibility"}
    assert {"gt-ag", "pwm"} <= set(by_kind["gtf"])
    assert {"covariates", "dosage-lr", "dosage-lr-weighted"} <= set(by_kind["cohort"])


def test_only_splice_sites_have_the_models_of_splice_sites(config):
    for task, kind in BUILDERS:
        names = layout.models(config, {"task": task, "name": "x", "kind": kind})
        assert len(names) == len(set(names))
        found = {"gt-ag", "pwm"} & set(names)
        assert len(found) == 2 * ((task, kind) == ("splicing", "gtf"))
    assert layout.EXTRA_MODELS.keys() <= BUILDERS.keys()


def test_the_task_accessibility_is_one_more_where_it_has_a_dataset(config):
    assert "accessibility" not in layout.tasks(config)
    row = {"task": "accessibility", "name": "atlas", "kind": "regions"}
    config["datasets"].append(row)
    assert layout.tasks(config)[-1] == "accessibility"
    names = layout.models(config, row)
    assert {"genebert", "scratch", "mean-breadth", "nearest-type", "context-lr"} <= set(names)
    assert "accessibility" not in names  # that would be the label
    assert layout.dataset_labels(config, row) == "results/regions/accessibility.h5ad"
    assert layout.dataset_extra(config, row) == []


def test_variants_read_the_genes_for_their_distance_to_a_tss(config):
    row = next(row for row in config["datasets"] if row["kind"] == "variants")
    assert layout.dataset_extra(config, row) == [config["genome"]["gtf"]]
    config["genome"]["gtf"] = ""
    assert layout.dataset_extra(config, row) == []


def test_scores_of_variants_are_models_by_their_names(config):
    row = next(row for row in config["datasets"] if row["kind"] == "variants")
    row["scores"] = {"cadd": "RawScore", "maf": "-MAF"}
    assert {"cadd", "maf"} <= set(layout.models(config, row))
    assert layout.weights_of(config, row, "cadd") == []


def test_either_index_of_a_cohort_will_do(config, tmp_path):
    vcf = tmp_path / "cohort.vcf.gz"
    row = next(row for row in config["datasets"] if row["kind"] == "cohort") | {"path": str(vcf)}
    assert layout.dataset_extra(config, row) == [f"{vcf}.tbi"]
    (tmp_path / "cohort.vcf.gz.csi").touch()
    assert layout.dataset_extra(config, row) == [f"{vcf}.csi"]
    (tmp_path / "cohort.vcf.gz.tbi").touch()
    assert layout.dataset_extra(config, row) == [f"{vcf}.tbi"]


def test_files_of_ready_made_sequences(config):
    row = {
        "task": "promoter",
        "name": "gue",
        "kind": "sequences",
        "path": "train.csv",
        "test": "resource:test.csv",
    }
    config["datasets"].append(row)
    assert layout.dataset_labels(config, row) == "train.csv"
    assert layout.dataset_extra(config, row) == ["resources/downloads/test.csv"]
    assert "context-lr" not in layout.models(config, row)


@pytest.mark.parametrize("negatives", [None, "open", "legacy"])
def test_negatives_of_promoters_avoid_the_annotation_and_the_blacklist(config, negatives):
    row = {"task": "promoter", "name": "epd", "kind": "epdnew", "path": "p.bed"}
    row |= {"negatives": negatives} if negatives else {}
    genome = config["genome"]
    drawn = negatives != "legacy"
    assert layout.dataset_extra(config, row) == [genome["gtf"]] * drawn
    assert layout.dataset_blacklist(config, row) == [genome["blacklist"]] * drawn
    row |= {"kind": "gtf", "path": genome["gtf"]}  # its own TSS are avoided already
    assert layout.dataset_extra(config, row) == []
    assert layout.dataset_blacklist(config, config["datasets"][1]) == []
    genome["blacklist"] = ""
    assert layout.dataset_blacklist(config, row) == []


def test_no_oracle_without_truth_and_no_variant_that_is_not_run(config):
    row = {key: value for key, value in config["datasets"][0].items() if key != "truth"}
    config["effort"]["variants"] = ["full"]
    names = layout.models(config, row)
    assert "oracle" not in names
    assert "genebert-sequence" not in names
    assert "genebert" in names


def test_a_dataset_may_name_the_variants_that_are_evaluated_on_it(config):
    config["effort"]["variants"] = ["full", "sequence", "shuffled_matrix"]
    row = config["datasets"][0] | {"variants": ["full", "shuffled_matrix"]}
    names = layout.models(config, row)
    assert {"genebert", "genebert-shuffled_matrix", "scratch"} <= set(names)
    assert "genebert-sequence" not in names
    assert "genebert-sequence" in layout.models(config, config["datasets"][0])


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


def test_a_variant_has_its_own_neighbours_or_those_of_the_run(root, config):
    schema = yaml.safe_load((root / "workflow/schemas/config.schema.yaml").read_text())
    before = layout.pretrain_settings(config, "full")
    config["pretrain"]["variants"] += [{"name": "r64", "neighbours": 64}]
    full, wide = (
        layout.pretrain_settings(check_config(config, schema), n) for n in ("full", "r64")
    )
    assert full == before
    assert wide == {**full, "name": "r64", "neighbours": 64}
    assert ModelConfig.from_pretrain(wide, 5).n_columns == 65
    config["pretrain"]["variants"][-1]["neighbours"] = 63
    with pytest.raises(InputError, match="found 63; expected a multiple of 2"):
        check_config(config, schema)


def test_a_model_that_is_not_there_is_refused_while_planning(config):
    row = config["datasets"][0]
    assert layout.weights_of(config, row, "genebert-sequence") == layout.weights(
        config, "genebert-sequence"
    )
    assert layout.weights_of(config, row, "gc") == []
    with pytest.raises(InputError, match="no such model on promoter/epd; did you mean 'genebert'"):
        layout.weights_of(config, row, "genbert")


def test_a_task_without_datasets_has_no_table(config):
    assert layout.task_tables(config, "tfbs") == ["results/tasks/tfbs/chip/table.tsv"]
    with pytest.raises(InputError, match="no dataset of the task 'accessibility'"):
        layout.task_tables(config, "accessibility")


def test_only_variants_trained_on_the_background_need_it(config):
    rows = [{"name": "genome", "objectives": ["mgm"], "samples": "background"}, {"name": "pairs"}]
    config["pretrain"]["variants"] += rows
    assert layout.background(config, "genome") == ["results/shards/background.safetensors"]
    for name in ("full", "pairs"):
        assert layout.background(config, name) == []


def test_the_cell_state_is_a_setting_of_the_model(config):
    config["pretrain"]["variants"] += [{"name": "cell_state", "cell_state": True}]
    full, variant = (layout.pretrain_settings(config, name) for name in ("full", "cell_state"))
    assert variant["model"] == {**full["model"], "cell_state": True}
    assert "cell_state" not in full["model"]


def test_patch_window_and_positions_of_the_matrix_reach_the_network(root, config):
    schema = yaml.safe_load((root / "workflow/schemas/config.schema.yaml").read_text())
    chosen = {"patch": [2, 3], "window": [5, 2], "column_positions": False}
    before = layout.pretrain_settings(config, "full")["model"]
    assert not set(chosen) & set(before)  # left out, a run's settings are those it had
    assert ModelConfig.from_pretrain({"model": before}, 40).patch == (8, 1)
    config["pretrain"]["model"] |= chosen
    block = layout.pretrain_settings(check_config(config, schema), "full")
    found = ModelConfig.from_pretrain(block, 40)
    assert (found.patch, found.window, found.column_positions) == ((2, 3), (5, 2), False)
    region = GeneBert(found).region
    assert region.rows.shape[0] == 21  # patches of 2 of 40 motifs and the accessibility
    assert region.columns.shape[1] == 4  # of 3 of 11 columns


def test_hash_sees_only_its_blocks(config):
    before = layout.config_hash(config, ("regions", "splits"))
    config["effort"]["finetune_steps"] += 1
    assert layout.config_hash(config, ("regions", "splits")) == before
    config["regions"]["width"] += 2
    assert layout.config_hash(config, ("regions", "splits")) != before


def with_change(config, key, value):
    """Return a copy of a configuration with one key, written as block.key, set."""
    block, _, name = key.partition(".")
    return {**config, block: {**config[block], name: value}}


def shards_hash(config):
    return layout.config_hash(layout.shards_settings(config), layout.SHARDS)


@pytest.mark.parametrize(
    ("key", "value", "changes"),
    [
        ("genome.gtf", "genes.gtf", False),
        ("genome.name", "mine", False),
        ("simulate.contigs", ["chr9"], False),
        ("simulate.regions_per_mb", 7, False),
        ("motifs.chunks", 9, False),
        ("atlas.min_cells", 9, False),
        ("atlas.layer", "counts", False),
        ("effort.pretrain_steps", 9, False),
        ("genome.fasta", "other.fa", True),
        ("genome.blacklist", "black.bed", True),
        ("splits.test", ["chr9"], True),
        ("motifs.p_value", 1e-5, True),
        ("regions.width", 200, True),
        ("atlas.min_replicates", 2, True),
        ("atlas.chain", "a.chain", True),
        ("shards.flank", 8, True),
    ],
)
def test_shards_are_known_by_what_they_depend_on(config, key, value, changes):
    config["genome"] |= {"source": "files", "name": "x", "gtf": ""}
    before = shards_hash(config)
    assert (shards_hash(with_change(config, key, value)) != before) == changes


@pytest.mark.parametrize(
    ("format", "key", "value"),
    [("h5ad", "min_cells", 9), ("h5ad", "layer", "counts"), ("mtx", "names", "names.txt")],
)
def test_keys_of_one_format_count_for_it_alone(config, format, key, value):
    config["genome"]["source"] = "files"
    for other in ("table", "long", "descartes", "h5ad", "mtx"):
        config["atlas"]["format"] = other
        before = shards_hash(config)
        changed = shards_hash(with_change(config, f"atlas.{key}", value))
        assert (changed != before) == (other == format), other


def test_a_simulated_genome_is_known_by_all_of_its_blocks(config):
    before = shards_hash(config)
    assert before == layout.config_hash(config, layout.SHARDS)
    assert shards_hash(with_change(config, "simulate.regions_per_mb", 7)) != before


@pytest.mark.parametrize(
    ("source", "name", "passed"),
    [
        ("files", "mine", ""),
        ("files", "hg38", "hg38"),
        ("files", "GRCm39", "GRCm39"),
        ("simulated", "sim1", "sim1"),
    ],
)
def test_only_a_known_assembly_is_compared_with_the_genome(config, source, name, passed):
    config["genome"] |= {"source": source, "name": name}
    assert layout.assembly(config) == passed


def test_hash_of_a_run_sees_what_its_results_depend_on(config):
    before = layout.run_hash(config)
    config |= {"offline": True, "torch_threads": 8, "resources_dir": "/data"}
    config["pretrain"] |= {"processes": 2, "micro_batch": 4, "keep_state": True}
    assert layout.run_hash(config) == before
    config["pretrain"]["neighbours"] += 2
    assert layout.run_hash(config) != before


def test_cell_type_table_errors(config, tmp_path):
    config["genome"]["source"] = "files"
    table = tmp_path / "cells.tsv"
    config["atlas"]["cell_types"] = str(table)
    with pytest.raises(InputError, match="no such table"):
        layout.cell_type_peaks(config)
    table.write_text("cell_type\tpeak\tformat\nB\tb.bed\tbed\n")
    with pytest.raises(InputError, match="column 'peaks' is missing; rename 'peak'"):
        layout.cell_type_peaks(config)
    table.write_text("cell_type\tpeaks\tformat\nB\tb.bed\tbed\nB\tb.bed\tbed\n")
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
    table.write_text(  # replicates, and downloads
        "cell_type\tpeaks\tformat\nMono\tm.bed\tbed\nMono\tresource:a/b.bed\tbed\nNK\tresource:n.bed\tbed\n"
    )
    assert layout.cell_type_peaks(config)[1:] == [
        "resources/downloads/a/b.bed",
        "resources/downloads/n.bed",
    ]
    table.write_text("cell_type\tpeaks\tformat\nMono\tresource:../x\tbed\n")
    with pytest.raises(InputError, match="line 2: is not the name of a download"):
        layout.cell_type_peaks(config)


def test_a_dataset_can_have_a_few_shot_curve_of_its_own(config):
    first, second = config["datasets"][:2]
    first["label_fractions"] = [50, 1.0]
    own = layout.dataset_effort(config, first, "cnn")
    assert own["label_fractions"] == [50, 1.0]
    shared = layout.dataset_effort(config, second, "cnn")
    assert shared == {key: config["effort"][key] for key in layout.FITTING}
    assert own == shared | {"label_fractions": [50, 1.0]}


def test_a_dataset_is_built_again_for_nothing_that_is_fitted_on_it(config):
    row = config["datasets"][0]
    before = layout.dataset_settings(config, row["task"], row["name"])
    row |= {"variants": ["full"], "label_fractions": [50, 1.0]}
    assert layout.dataset_settings(config, row["task"], row["name"]) == before
    config["datasets"][0] = row = dict(reversed(row.items()))  # the order of keys says nothing
    assert str(layout.dataset_settings(config, row["task"], row["name"])) == str(before)
    row["copies"] = "keep"
    assert layout.dataset_settings(config, row["task"], row["name"]) != before


def test_a_prediction_is_made_again_for_what_it_reads_of_the_effort_alone(config):
    row, before = config["datasets"][0], {}
    models = ("scratch", "cnn", "genebert")
    for model in models:
        before[model] = layout.dataset_effort(config, row, model)
    config["effort"] |= {"bootstrap_draws": 7, "variants": ["full"], "pretrain_steps": 9}
    assert all(layout.dataset_effort(config, row, m) == before[m] for m in models)
    config["effort"]["pretrain_seeds"] += 1
    changed = [m for m in models if layout.dataset_effort(config, row, m) != before[m]]
    assert changed == ["scratch"]  # of genebert the weights say so
    config["effort"]["finetune_steps"] += 1
    assert all(layout.dataset_effort(config, row, m) != before[m] for m in models)


def test_how_a_training_is_run_is_no_part_of_its_settings(config):
    from genebert.pretrain import UNHASHED

    assert {*layout.HOW, "name"} == set(UNHASHED)
    before = layout.run_settings(config, "full")
    config["pretrain"] |= {"checkpoint_seconds": 7, "processes": 2, "keep_state": True}
    assert layout.run_settings(config, "full") == before
    assert layout.how_it_runs(config)["checkpoint_seconds"] == 7
    config["pretrain"]["optimizer"]["learning_rate"] *= 2
    assert layout.run_settings(config, "full") != before
    assert layout.encoder_settings(config)["neighbours"] == config["pretrain"]["neighbours"]
    assert "optimizer" not in layout.encoder_settings(config)


def test_spans_that_variants_hide(config):
    pretrain, effort = config["pretrain"], config["effort"]
    pretrain["variants"] = [
        {"name": "full"}, {"name": "dnabert", "masking": "dnabert"},
        {"name": "matching", "objectives": ["srm"]}, {"name": "not_run"},
    ]  # fmt: skip
    effort["variants"] = ["full", "dnabert", "matching"]
    assert layout.hidden_spans(config) == {"full": pretrain["objectives"]["mgm"]["span"]}
    pretrain["objectives"]["mgm"]["span"] = [[0.5, 1], [0.5, 10]]
    assert layout.hidden_spans(config) == {"full": 10}


def test_resources_become_downloads(config):
    config["genome"]["fasta"] = "resource:hg38.fa.gz"
    assert layout.source(config, "resource:hg38.fa.gz") == "resources/downloads/hg38.fa.gz"


def test_versions_are_read_without_import(tmp_path):
    (tmp_path / "genebert").mkdir()
    (tmp_path / "genebert" / "stage.py").write_text("import nothing\n\nVERSION = 12\n")
    assert layout.version(tmp_path, "stage") == 12
    (tmp_path / "genebert" / "other.py").write_text("x = 1\n")
    with pytest.raises(InputError, match="VERSION"):
        layout.version(tmp_path, "other")


def test_sources(config):
    config["resources_dir"] = "/data"
    assert layout.source(config, "resource:a.gz") == "/data/a.gz"
    assert layout.source(config, "resource:catlas/a.bed") == "/data/catlas/a.bed"
    assert layout.source(config, "listing:catlas") == "/data/catlas.table.tsv"
    assert layout.source(config, "my/peaks.tsv") == "my/peaks.tsv"


def test_converted_atlases_are_read_from_one_table(config):
    assert layout.atlas_table(config) == config["atlas"]["cell_types"]
    config["genome"]["source"] = "files"
    config["atlas"] |= {"format": "descartes", "cell_types": "resource:S4.txt.gz"}
    assert layout.atlas_table(config) == "results/atlas/peaks.tsv.gz"
    assert layout.cell_type_peaks(config) == []
    settings = layout.atlas_settings(config)
    assert settings["format"] == "descartes"
    assert "cell_types" not in settings
    assert layout.atlas_settings(config, ("min_replicates",)) == {"min_replicates": 1}


def test_versions_of_all_stages(root):
    found = layout.versions(root / "workflow/scripts")
    assert {"regions", "fetch", "listings", "simulate", "tasks"} <= set(found)
    assert found["regions"] == layout.version(root / "workflow/scripts", "regions")


def test_interpretation_is_off_in_the_smoke_run_and_takes_the_first_tfbs_dataset(config):
    assert config["interpret"]["items"] == 0
    assert layout.interpretation(config) == layout.attributions(config) == []
    config["interpret"]["items"] = 3
    found = layout.attributions(config)
    models = config["interpret"]["models"]
    assert found == [f"results/tasks/tfbs/chip/{name}/attributions.parquet" for name in models]
    assert layout.interpretation(config) == [
        "results/interpretation.tsv",
        "results/figures/logos.svg",
    ]
    config["interpret"]["datasets"] = ["splicing/sites", "promoter/epd"]
    assert len(layout.attributions(config)) == 2 * len(models)
    config["datasets"] = [row for row in config["datasets"] if row["task"] != "tfbs"]
    config["interpret"]["datasets"] = []
    assert layout.interpretation(config) == []


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("datasets", ["tfbs/chop"], "no such dataset; did you mean 'tfbs/chip'"),
        (
            "datasets",
            ["disease/variants"],
            "dataset cannot be interpreted; found 'disease/variants",
        ),
        ("models", ["scrach"], "no such model; did you mean 'scratch'"),
    ],
)
def test_what_cannot_be_interpreted_is_one_line(config, key, value, message):
    config["interpret"] |= {"items": 1, key: value}
    with pytest.raises(InputError, match=message):
        layout.attributions(config)


def test_blocks_are_1_mb_and_100_kb_on_a_simulated_genome(config):
    task, name = (config["datasets"][0][key] for key in ("task", "name"))
    assert layout.dataset_row(config, task, name)["block_bp"] == layout.block_bp(config) == 100_000
    config["genome"]["source"] = "files"
    assert (
        layout.dataset_row(config, task, name)["block_bp"] == layout.block_bp(config) == 1_000_000
    )
    config["datasets"][0]["block_bp"] = 10
    assert layout.dataset_row(config, task, name)["block_bp"] == 10


def test_only_a_simulated_genome_has_planted_sites(config):
    assert layout.planted_sites(config) == ["results/simulated/truth/sites.tsv"]
    config["genome"]["source"] = "files"
    assert layout.planted_sites(config) == []
