"""Objectives of the follow-up literature as parts: `from: experiments.parts.nonlinear_ib:nonlinear_ib`."""
