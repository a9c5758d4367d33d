"""Files of data sets: downloads and folders of images."""
