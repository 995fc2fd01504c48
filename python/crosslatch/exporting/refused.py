"""The error for a model that cannot be exported."""


class Refused(ValueError):
    """A model is not supported; the message says why."""
