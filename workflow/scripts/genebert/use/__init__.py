"""A trained model on a user's own files: embeddings, variant scores, predictions, attributions.

In: a BED or a VCF, a directory of pre-trained encoders and what the run that trained them left
(shards, motif set, genome, fine-tuned networks). Out: AnnData, annotated VCF, tables, bedGraph.
Files are read and written in blocks, so that memory does not grow with them.
"""

VERSION = 4
