"""The output of the commands: on a terminal with rich, plain elsewhere. Nothing here decides anything."""
