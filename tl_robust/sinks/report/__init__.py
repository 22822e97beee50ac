"""The report: one page of HTML, its Markdown twin and a figure."""
