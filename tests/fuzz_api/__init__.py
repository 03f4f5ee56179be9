"""schemathesis over /openapi.json: to thousands of made-up requests a server answers what it says that it does."""
