"""Training of one configuration on one split with one seed: networks, trainers, schedules, checkpoints."""
