"""Working in-memory fakes of the services' ports; tests/ports runs one suite on them and on the real adapters."""
