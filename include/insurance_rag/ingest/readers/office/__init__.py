"""Documents that are ZIP archives of XML files: DOCX and HWPX."""
