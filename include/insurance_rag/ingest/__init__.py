"""Turn documents (PDF, HWPX, DOCX, HTML, Markdown, text) into policy chunks."""
