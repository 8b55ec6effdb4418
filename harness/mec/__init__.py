"""FEAT_MEC asked of a target: instructions and scripts of accesses, judged by ``refmodel.mec``."""
