"""What an audit measures: copies, likeness, looks, shifts, suspicious labels."""
