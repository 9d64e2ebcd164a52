"""Predictions and what is read from them: intervals, calibration, error analysis."""
