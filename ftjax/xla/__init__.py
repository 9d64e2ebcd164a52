"""Compiled programs: cache, cost analysis, barriers."""
