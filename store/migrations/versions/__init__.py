"""One file per schema; its name begins with the revision."""
