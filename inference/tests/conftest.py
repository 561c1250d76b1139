from hypothesis import settings

settings.register_profile("fluxpool", deadline=None)  # the machine may be busy: time is no verdict
settings.load_profile("fluxpool")
