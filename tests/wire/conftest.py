from hypothesis import settings

settings.register_profile("busy machine")
settings.load_profile("busy machine")
