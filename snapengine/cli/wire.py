"""Answers as JSON, for programs."""


def document(answer: object) -> bytes:
    """Return answer as JSON: the contract's keys, sorted, nulls left out of structs."""
    import msgspec  # late: --version and --help need no JSON, and most texts none either

    return msgspec.json.encode(answer, order="sorted")
