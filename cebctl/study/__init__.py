"""What commands and `cebctl.Study` do with a matrix: the same steps, whoever asks for them."""
