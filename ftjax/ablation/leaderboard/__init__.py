"""All results in one table, from their rows and summaries; submissions are checked first."""
