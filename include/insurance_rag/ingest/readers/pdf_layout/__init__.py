"""The layout of PDF pages: from characters and ruling lines to lines and tables in reading order.

The steps, in order: `glyphs` and `shapes` read a page with PDFium, `grids` finds tables and frames in its ruling lines,
`segments` groups characters to pieces of lines, `margins` finds headers, footers and page numbers over all pages,
`columns` sets the reading order, `contents` finds tables of contents, and `paragraphs` joins lines that belong
together. `symbols` repairs item numbers that the fonts of the document map to other characters.
"""
