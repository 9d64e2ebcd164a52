"""The server: HTTP around one bundle."""
