"""Executable reference model of Arm's Confidential Compute Architecture.

Pure functions over frozen values: state and stimulus in, the set of permitted outcomes, fired rules and walk steps out.
Standard library only; no input or output, no clock, no randomness.  Functions named like Arm's pseudocode
(``GPTWalk``, ``GranuleProtectionCheck``) follow it statement by statement and say so; read them side by side.
"""
