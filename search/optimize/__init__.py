"""The search itself: which configuration is tried next, how a trial is judged, and when it or the search ends early."""
