"""Are probabilities to be believed: calibration, conformal sets, unfamiliar inputs."""
