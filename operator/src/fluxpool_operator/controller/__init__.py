"""What makes the operator run: events and the clock put keys on a queue, workers take them off.

process     makes the parts and connects them; supervisor runs them until one ends
preflight   what must be there before the start
watches     kopf: objects into tables, keys on the queue
keys        from an object to its pool; table, view: the cluster as known; audit: is it complete
queue       the keyed work queue
worker      key -> snapshot -> plan; executor writes it; memory, upgrades are what it keeps in mind
ticker      the autoscaler's turn; pushes brings batch sizes to pods; measuring connects to Prometheus
ports       what all of this needs of the outside
"""
