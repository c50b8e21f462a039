"""When a search works and how its time is divided: working hours, budget, plan, and the service that starts it."""
