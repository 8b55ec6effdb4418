"""Memory Encryption Contexts (FEAT_MEC): registers, the MECID of every access, and the memory system behind it."""
