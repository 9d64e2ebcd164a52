"""Images and texts as a network takes them: what travels with its weights."""
