"""The images a run learns from and is tested on: verified when read, the same in every process."""

from jobs.engine.data.batches import batches
from jobs.engine.data.images import FolderImages, ImageSet, MemoryImages
from jobs.engine.data.load import load
from jobs.engine.data.training_batches import training_batches

__all__ = ["FolderImages", "ImageSet", "MemoryImages", "batches", "load", "training_batches"]
