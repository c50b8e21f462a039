"""The schedule of a search: working hours, budget, plan, and the cron or systemd entry that starts it."""
