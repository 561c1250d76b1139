"""The decision function of fluxpool: two numbers from one observation, pure."""

from fluxpool_autoscaler.cold_start import ColdStart
from fluxpool_autoscaler.decision import Coverage, Decision, Limit, Proposal, Validity, Verdict

__all__ = ["ColdStart", "Coverage", "Decision", "Limit", "Proposal", "Validity", "Verdict"]
