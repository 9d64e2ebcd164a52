"""Tables in files, CSV, TSV and JSONL: which columns mean what, and their cells."""
