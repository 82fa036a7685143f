"""Rate limiting for teacher calls. All workers in a run share one event log, so together they respect each quota.

A worker uses `limiter.Limiter`, which asks `admission` whether a call may be sent. The answer depends on the `state`.
The state is computed from the `events` that all workers write to the `event_log`.
"""
