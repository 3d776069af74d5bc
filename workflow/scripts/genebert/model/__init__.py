"""The GeneBERT networks: a sequence encoder, two region encoders, and the objectives' heads."""

from genebert.model.config import ModelConfig
from genebert.model.genebert import GeneBert
from genebert.model.region import RegionTransformer, SwinRegionEncoder
from genebert.model.sequence import SequenceEncoder

__all__ = ["GeneBert", "ModelConfig", "RegionTransformer", "SequenceEncoder", "SwinRegionEncoder"]
