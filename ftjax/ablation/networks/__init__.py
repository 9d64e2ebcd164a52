"""Which pretrained network: networks compared on the features that they give a head."""
