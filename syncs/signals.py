from django.dispatch import Signal

# Sent after the commit that ended a run, with send_robust. Arguments: run_id. A lost signal costs seconds: ticks recompute.
run_finished = Signal()

# Sent after the commit that paused or resumed a sync, or noted or settled its drift, with send_robust. Arguments: sync_id.
sync_switched = Signal()

# Sent after the commit that changed whether a connection's credential can be used, with send_robust. Arguments: connection_id.
connection_switched = Signal()

# Sent at the end of every tick, every few seconds from each worker, with send_robust. No arguments.
ticked = Signal()

# Sent by a process that works until nothing is left, once it found no run to execute, with send_robust. No arguments. A
# receiver that answers True has done something, after which there may be runs.
idled = Signal()
