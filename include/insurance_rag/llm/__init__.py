"""Clients for language model servers: shared HTTP clients, and adapters for the Gemini and OpenAI-compatible APIs."""
