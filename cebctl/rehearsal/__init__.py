"""The rehearsal of a matrix: all of it at a small size, from the first job to the page, before anything is spent."""
