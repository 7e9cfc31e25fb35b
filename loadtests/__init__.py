"""What the whole service does under a load that looks like ours: ``python -m loadtests --help``.

scenarios/ (each load, written once) · scenario (what a scenario is made of) · questions (what is
asked, and what each must get) · generator/ (the open loop) · locust_users/ (the same scenarios for
Locust) · target (the service: its processes and numbers) · runs (stages, in one or several
processes) · result (what a run leaves) · report/ (Markdown, plots, one HTML page) · compare/
(two runs) · capacity/ (what so many workers carry, and how many are needed) · autoscaler/ (the
HorizontalPodAutoscaler's algorithm, replayed). bench/ asks what one hot path costs; this asks how
much the service carries.
"""
