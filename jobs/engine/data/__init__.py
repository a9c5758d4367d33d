"""The images a run learns from and is tested on: verified when read, the same in every process."""

from jobs.engine.data.batches import batches
from jobs.engine.data.images import FolderImages, ImageSet, MemoryImages
from jobs.engine.data.load import load

__all__ = ["FolderImages", "ImageSet", "MemoryImages", "batches", "load"]
