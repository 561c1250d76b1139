"""What every peer of the comparison has in common, so that they differ in how they serve and in nothing else.

`settings` is how a peer is started, `contract` what it is asked and answers, `pipeline` the stock diffusers pipeline
that makes its images. `bare` is that pipeline without any server.
"""
