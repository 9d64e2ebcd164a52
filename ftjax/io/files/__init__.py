"""Files: whole or not at all, owned, locked, hashed."""
