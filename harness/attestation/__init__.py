"""Attestation tokens as bytes: a strict CBOR reader, signatures, verification, minting, appraisal.

What a token must be is in ``refmodel/attestation``; this package decodes, hashes and checks signatures.
"""
