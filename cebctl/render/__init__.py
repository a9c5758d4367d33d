"""How answers look: on a terminal with rich, plain elsewhere. Nothing here decides anything."""
