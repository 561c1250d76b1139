"""What makes the operator run: events and the clock put keys on a queue, workers take them off.

queue     the keyed work queue
"""
