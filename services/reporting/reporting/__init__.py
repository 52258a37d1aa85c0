"""The read model over all services: search, figures, exports."""
