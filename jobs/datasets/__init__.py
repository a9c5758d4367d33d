"""Files of data sets: downloads and image folders."""
