"""The errors of the bank; each message is one line that a person can act on."""


class BankError(Exception):
    """Base of everything that the bank raises on purpose."""


class RegistryError(BankError):
    """A package registry could not be reached, or does not have the package."""


class ShortTaskError(BankError):
    """A task came out with fewer classes or images than a task of the bank must have."""
