"""The version of the service protocol."""

from sdk.versions import *
