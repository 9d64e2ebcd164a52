"""Networks made of models that somebody built elsewhere: NNX models with their weights."""
