"""What all tests share: how long an example takes says nothing on a busy machine."""

from hypothesis import settings

settings.register_profile("anywhere")
settings.load_profile("anywhere")
