"""Files: what ftjax keeps on a disk, and what it remembers of other files."""
