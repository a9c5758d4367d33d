"""Reports: a pure function of the store's rows and the published numbers, then a format."""
