"""`manifest.json`: its rows, its reader, and the one judgement of what passed."""
