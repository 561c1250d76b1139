from hypothesis import HealthCheck, settings

# The machine may be busy: time is no verdict.
settings.register_profile("fluxpool", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fluxpool")
