"""Cases, reason codes, routing and clocks."""
