"""From evaluations to tables, figures and pages."""
