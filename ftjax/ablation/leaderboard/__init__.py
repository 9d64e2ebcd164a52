"""All results in one table, from their rows alone; submissions are checked before they count."""
