"""Workers on the local machine."""
