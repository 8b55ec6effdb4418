"""placeholder"""


def bench_probes(**_: object) -> dict[str, float]:
    """Nothing yet."""
    return {}
