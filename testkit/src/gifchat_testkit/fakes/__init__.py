"""Working in-memory twins of the services' ports; tests/ports holds them and the real adapters to one suite."""
