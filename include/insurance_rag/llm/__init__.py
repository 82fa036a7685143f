"""Clients of language model servers: one HTTP client, and adapters for the Gemini and OpenAI-compatible APIs."""
