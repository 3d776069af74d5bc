"""Which file and whose model: rows of the user's table, own runs and other ones, in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from genebert.errors import InputError
from genebert.use import sources

HEADER = "name\tkind\tpath\tcell_types\ttask\tmethod\n"


def config(tmp_path: Path, rows: str = "", header: str = HEADER, **changes: Any) -> dict[str, Any]:
    table = tmp_path / "mine.tsv"
    table.write_text(header + rows)
    return {
        "genome": {"source": "files"},
        "user_files": str(table),
        "pretrained": "results/pretrain/full",
        "resources_dir": "downloads",
        "pretrain": {
            "variants": [{"name": "full"}, {"name": "mgm"}],
            "model": {},
            "objectives": {},
        },
        "effort": {"pretrain_seeds": 2, "variants": ["full"], "ablation": True},
        "datasets": [
            {"task": "tfbs", "name": "chip", "kind": "narrowpeak"},
            {"task": "disease", "name": "variants", "kind": "variants"},
        ],
        **changes,
    }


def test_a_row_is_found_by_name_and_its_path_starts_at_the_table(tmp_path):
    made = config(tmp_path, "peaks\tbed\ta.bed\tHSC, B\t\t\n")
    row = sources.user_file(made, "peaks", "bed")
    assert row["path"] == str(tmp_path / "a.bed")
    assert row["method"] == "ism"
    assert sources.cell_types(row) == ["HSC", "B"]
    assert sources.fitted_of(made, row) == []


@pytest.mark.parametrize(
    ("rows", "name", "kind", "message"),
    [
        ("peaks\tbed\ta.bed\t\t\t\n", "peeks", "bed", "did you mean 'peaks'"),
        ("peaks\tbed\ta.bed\t\t\t\n", "peaks", "vcf", "of another kind"),
        ("peaks\tbedd\ta.bed\t\t\t\n", "peaks", "bed", "line 2: unknown kind; did you mean 'bed'"),
        ("peaks\tbed\ta.bed\t\t\tgradients\n", "peaks", "bed", "did you mean 'gradient'"),
        ("a/b\tbed\ta.bed\t\t\t\n", "a/b", "bed", "cannot be used in a file name"),
        ("a\tbed\ta.bed\t\t\t\na\tvcf\tb.vcf\t\t\t\n", "a", "bed", "repeats"),
        (
            "a\tbed\ta.bed\t\t\t\nb\tvcf\tb.vcf\tHSC, B,HSC\t\t\n",
            "a",
            "bed",
            "line 3: cell type is named twice; found 'HSC'",
        ),
    ],
)
def test_bad_rows_are_one_line(tmp_path, rows, name, kind, message):
    with pytest.raises(InputError, match="mine.tsv") as error:
        sources.user_file(config(tmp_path, rows), name, kind)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_mistyped_column_is_not_taken_for_metadata(tmp_path):
    header = "name\tkind\tpath\tcell_type\tnotes\n"
    with pytest.raises(InputError, match="did you mean 'cell_types'"):
        sources.user_files(config(tmp_path, "a\tbed\ta.bed\tB\tours\n", header))


def test_without_a_table_the_key_is_named(tmp_path):
    with pytest.raises(InputError, match="user_files"):
        sources.user_file(config(tmp_path) | {"user_files": None}, "a", "bed")


def test_encoders_of_this_run_are_its_first_seed_unless_one_is_named(tmp_path):
    made = config(tmp_path)
    assert sources.weights(made) == "results/pretrain/full/seed-1/model.safetensors"
    assert sources.results(made) == "results"
    made["pretrained"] = "results/pretrain/mgm/seed-2/"
    assert sources.encoders(made) == "results/pretrain/mgm/seed-2"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("results/pretrain/fulll", "did you mean 'full'"),
        ("results/pretrain/full/seed-9", "no such seed"),
        ("results/pretrain", "no such pre-training variant"),
        ("elsewhere/full", "no pre-trained model here"),
    ],
)
def test_wrong_encoders_are_one_line(tmp_path, path, message):
    with pytest.raises(InputError, match=message):
        sources.encoders(config(tmp_path, pretrained=path))


def other_run(tmp_path: Path, files: tuple[str, ...] = sources.RUN_FILES) -> Path:
    folder = tmp_path / "other/results/pretrain/full/seed-3"
    for path in (folder / "config.json", *(tmp_path / "other/results" / file for file in files)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_another_run_brings_its_own_shards_motifs_and_genome(tmp_path):
    folder = other_run(tmp_path)
    made = config(tmp_path, pretrained=str(folder.parent))
    assert sources.encoders(made) == str(folder)
    assert sources.run_file(made, sources.GENOME) == str(
        tmp_path / "other/results" / sources.GENOME
    )
    with pytest.raises(InputError, match="no such fitted model"):
        sources.fitted(made, "tfbs", "chip", "genebert")


def test_weights_that_were_copied_alone_are_used_with_this_runs_files(tmp_path):
    made = config(tmp_path, pretrained=str(other_run(tmp_path, ())))
    assert sources.results(made) == "results"


def test_weights_that_were_copied_alone_are_not_used_on_a_simulated_genome(tmp_path):
    folder = other_run(tmp_path, ())
    made = config(tmp_path, pretrained=str(folder), genome={"source": "simulated"})
    with pytest.raises(InputError, match="not beside it, and this run's genome is simulated"):
        sources.run_file(made, sources.GENOME)
    made["pretrained"] = "results/pretrain/full"
    assert sources.results(made) == "results"


@pytest.mark.parametrize("level", ["pretrain/full/seed-3", "pretrain/full", "pretrain", "."])
def test_a_link_leads_to_the_run_of_the_model(tmp_path, monkeypatch, level):
    folder = other_run(tmp_path)
    results = tmp_path / "other/results"
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere/model"
    link.symlink_to(results / level)
    model = link / folder.relative_to(results / level)
    made = config(tmp_path, pretrained=str(model), genome={"source": "simulated"})
    assert Path(sources.results(made)).samefile(results)
    monkeypatch.chdir(tmp_path / "elsewhere")
    made["pretrained"] = str(model.relative_to(tmp_path / "elsewhere"))
    assert Path(sources.results(made)).samefile(results)


def test_a_model_is_found_from_within_its_run(tmp_path, monkeypatch):
    folder = other_run(tmp_path)
    monkeypatch.chdir(folder.parent.parent)
    found = sources.results_beside(Path("full/seed-3"))
    assert found is not None
    assert Path(found).samefile(tmp_path / "other/results")


def test_half_a_run_is_refused(tmp_path):
    made = config(tmp_path, pretrained=str(other_run(tmp_path, sources.RUN_FILES[:1])))
    with pytest.raises(InputError, match=r"is not whole.*motif_set\.json"):
        sources.results(made)


def test_the_network_of_a_task(tmp_path):
    made = config(tmp_path, "a\tbed\ta.bed\tB\ttfbs/chip\t\n")
    path = "results/tasks/tfbs/chip/genebert/fitted.safetensors"
    assert sources.fitted_of(made, sources.user_file(made, "a", "bed")) == [path]
    assert sources.fitted(made, "tfbs", "chip", "cnn") == path.replace("genebert", "cnn")


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("tfbs", "TASK/DATASET"),
        ("tfbs/chips", "did you mean 'tfbs/chip'"),
        ("disease/variants", "on a dataset of sequences"),
    ],
)
def test_a_wrong_task_is_one_line(tmp_path, task, message):
    made = config(tmp_path, f"a\tbed\ta.bed\tB\t{task}\t\n")
    with pytest.raises(InputError, match=message):
        sources.fitted_of(made, sources.user_file(made, "a", "bed"))


def test_a_model_without_a_network_is_refused(tmp_path):
    with pytest.raises(InputError, match="no network of this name"):
        sources.fitted(config(tmp_path), "tfbs", "chip", "motif-lr")
