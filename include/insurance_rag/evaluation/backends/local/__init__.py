"""The backend that runs the model in this process.

Import the modules of this package only inside functions, because they import torch.
"""
