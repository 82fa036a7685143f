"""Base models: one way to load weights and tokenizer, to quantize, and to attend, for training, evaluation and export.

`base_model.load_base_model` is the only place that loads the weights of a language model. Quantization (NF4), the
device, the tokenizer and the variable-length attention each have a module of their own. Importing this package is
light; the functions import torch and transformers when they are called.
"""
