"""The API over HTTP; ARCHITECTURE.md, "The server", says what each module is for."""
