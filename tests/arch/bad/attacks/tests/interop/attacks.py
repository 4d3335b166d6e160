def refusal(act):
    """Needs something: no attack."""


def helper():
    return 1


def named():
    """An attack."""


def forgotten():
    """Another."""
