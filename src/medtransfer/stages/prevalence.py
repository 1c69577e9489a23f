"""``medtransfer prevalence --predictions FILE``: what a fixed threshold means where the disease is rarer."""

from argparse import Namespace

from medtransfer.evaluation.prevalence import PREVALENCES, over_prevalence
from medtransfer.evaluation.questions import CHOICES, one_question, read_any_predictions, validation_of
from medtransfer.files import new_folder, write_text
from medtransfer.reporting.page import write_drawing
from medtransfer.reporting.prevalence import HEADINGS, prevalence_figure, prevalence_rows
from medtransfer.tracking.fetching import fetch_validation
from medtransfer.training.progress import console

TABLE, FIGURE = "prevalence.csv", "prevalence.svg"


def run(options: Namespace) -> None:
    """Write table and figure to ``--out`` and print the rows."""
    table = read_any_predictions(options.predictions)
    chosen = {name: getattr(options, name, None) for name in CHOICES}
    rows = one_question(table[table["split"] == "test"], chosen)
    output = str(rows["output"].iloc[0])
    validation = (
        one_question(fetch_validation(options.model), {"output": output})
        if options.model
        else validation_of(rows, table)
    )
    found = over_prevalence(
        validation, rows, rule=options.rule, prevalences=options.prevalence or PREVALENCES, draws=options.draws
    )
    point = (
        f"{output}: threshold {found.threshold:.3f} ({options.rule}, {len(validation)} validation images); "
        f"sensitivity {found.sensitivity:.3f}, specificity {found.specificity:.3f} on {len(rows)} test images"
    )
    figure = prevalence_figure("prevalence", "Over prevalence", f"{point}.", {output: found})
    with new_folder(options.out, made=(TABLE, FIGURE)) as folder:
        write_text(folder / TABLE, found.table().to_csv(index=False))
        write_drawing(folder / FIGURE, figure)
    console.print(point, markup=False, soft_wrap=True)
    for cells in (HEADINGS, *prevalence_rows(found)):
        console.print("  ".join(f"{cell:>18}" for cell in cells), markup=False, soft_wrap=True)
    console.print(f"table and figure: {options.out}", markup=False, soft_wrap=True)
