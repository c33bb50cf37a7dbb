"""One module an act: first its rules inside a transaction, and beside them the act itself on a session."""
