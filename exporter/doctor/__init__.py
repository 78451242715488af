"""Which runtimes and devices work on this machine, and what decides a latency here."""
