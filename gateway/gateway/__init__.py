"""REST, OpenAPI, sign-in and the web workspace, derived from the services' contracts."""
