"""The verifier: an adapter that marks sentences of an answer that the policy does not support.

It is trained with the recipe `verifier`, calibrated with the command `verifier`, and used with `evaluate --verifier`.
"""
