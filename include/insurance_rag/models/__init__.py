"""Load base models and tokenizers, quantize weights and compute attention. Used by training, evaluation and export.

`base_model.load_base_model` is the only function that loads the weights of a language model. NF4 quantization, devices,
tokenizers and variable-length attention each have their own module. Importing this package is fast, because its
functions import torch and transformers only when they are called.
"""
