"""Names of the files of our own format, for what reads them without a network (or flax)."""

FORMAT = 'ftjax'
WEIGHTS, CONFIG, TOKENIZER = 'model.safetensors', 'config.json', 'tokenizer.json'
