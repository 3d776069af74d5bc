#!/usr/bin/env bash
# After a finished run: a second run has nothing to do, and a deleted table is rebuilt alone.
set -euo pipefail
snakemake -n 2>&1 | grep -q "Nothing to be done" || { echo "error: a second run would repeat jobs"; snakemake -n --quiet; exit 1; }
kept=$(mktemp -d); trap 'rm -rf "$kept"' EXIT
cp results/promoter.tsv "$kept/"
rm results/promoter.tsv
snakemake --cores 2 results/promoter.tsv >"$kept/log" 2>&1
[ "$(grep -oP 'Finished jobid: \d+ \(Rule: \K\w+' "$kept/log")" = task_table ] \
  || { echo "error: more than the table was rebuilt"; cat "$kept/log"; exit 1; }
cmp results/promoter.tsv "$kept/promoter.tsv"
echo "a deleted table was rebuilt alone, identical"
