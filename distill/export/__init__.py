"""From a torch model to a bundle: ONNX graphs, their variants, parity, the gate, and the folder that is deployed.

Nothing is imported here: ``bundle`` and ``gate`` need no torch, and a run whose export is done already reads only them.
"""
