"""The rules in plain PyTorch: in chunks, token by token, and the reference on tensors. Called by the operators."""

from gdn_core.extras import need

need("torch")
