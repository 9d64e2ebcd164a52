"""Pages of HTML that need no other file: their elements and their look."""
