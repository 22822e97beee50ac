"""The accuracies as a table for a paper."""

from tl_robust.files import write_atomically
from tl_robust.results.answer import headline_rows
from tl_robust.results.names import interval
from tl_robust.sinks.base import sink


@sink(after=("tables",), files=("table.tex",))  # what it reads, and what it writes into the folder of the bench
def latex(views):
    lines = [
        f"{row.cell.strategy} & {views.faces[row.cell.threat].at(row.eps)} & {interval(row)} ".replace("%", r"\%")
        for row in headline_rows(views.summary, views.faces)
    ]
    path = views.folder / "table.tex"
    write_atomically(path, "".join(f"{line}\\\\\n" for line in lines).encode())
    yield f"LaTeX: {path}"  # printed at the end of a run
