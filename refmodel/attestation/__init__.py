"""What the CCA attestation token must be: claims, profiles, headers, keys and bindings as data and as rules.

Everything here takes plain values (``items.py``) and hands back findings (``findings.py``).  Bytes are decoded and
signatures are checked in ``harness/attestation``.

Sources: DEN0137 1.0-rel0 section A7.2, the drafts of DEN0137 2.0 section A7.2, draft-ffm-rats-cca-token-00 to -04,
RFC 8949 (CBOR), RFC 9052 and RFC 9053 (COSE), RFC 9711 (EAT).
"""
