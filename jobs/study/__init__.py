"""Studies: fusion methods compared on collections, from runs to tables, figures and a report."""
