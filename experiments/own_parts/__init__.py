"""Parts of one's own: networks, objectives, … in a user's file or an installed package, read and never run."""
