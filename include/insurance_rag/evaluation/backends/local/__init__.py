"""The backend that answers with a model in this process.

Its modules import torch when they are imported; import them inside functions only.
"""
