"""The program ``python -m genebert.huggingface MODEL DIRECTORY [--seed N]``."""

import argparse
import sys

from genebert.errors import InputError
from genebert.huggingface import export

parser = argparse.ArgumentParser(description="Write the sequence encoder for `transformers`.")
parser.add_argument("model", help="a directory of pre-trained weights, or of a variant")
parser.add_argument("directory", help="a new directory")
parser.add_argument("--seed", type=int, help="which seed of a variant; by default its first")
options = parser.parse_args()
try:
    export(options.model, options.directory, options.seed)
except InputError as error:
    sys.exit(f"error: {error}")
