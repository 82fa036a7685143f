"""Rate limiting of teacher calls: all workers of a run share one log of events and never exceed a project's quota.

`limiter.Limiter` is what a worker uses. It decides with `admission`, which reads the `state` that is folded from the
events (`events`) of all workers (`event_log`).
"""
