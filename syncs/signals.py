from django.dispatch import Signal

# Sent after the commit that ended a run, with send_robust. Arguments: run_id. A lost signal costs seconds: ticks recompute.
run_finished = Signal()
