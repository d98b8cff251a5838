"""The base of all errors that a user can cause."""


class AsrError(ValueError):
    """An input, a setting or a file that cannot be used; the message names it and the mend."""


class DeviceError(AsrError):
    """A device that this machine does not have, or a precision that the device does not support."""
